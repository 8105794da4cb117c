//! The language of rules: the parts of an expression. The README has the grammar.

mod parser;
mod scanner;

use std::fmt;

use ipnet::IpNet;

pub(crate) use parser::parse;

/// An expression, true or false for a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    /// True if the test is true for any value of the operand.
    Text(Operand, TextTest),
    Number(Measure, Operand, NumberTest),
    /// Whether the client's address is in any of these networks.
    Client(Vec<IpNet>),
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TextTest {
    In(Vec<Vec<u8>>),
    Contains(Vec<u8>),
    StartsWith(Vec<u8>),
    EndsWith(Vec<u8>),
    /// A regular expression, and its place in the expression.
    Matches(String, usize),
}

/// A test of a number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NumberTest {
    In(Vec<u64>),
    Below(u64),
    Above(u64),
}

/// A number derived from an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The bytes of each value.
    Len,
    /// The number of values.
    Count,
}

/// Texts of a request: no, one or several values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operand {
    Field(Field),
    Any(Vec<Operand>),
    Apply(Transform, Box<Operand>),
}

impl Operand {
    /// Returns the fields that the operand reads.
    pub(crate) fn fields(&self) -> Vec<&Field> {
        match self {
            Operand::Field(field) => vec![field],
            Operand::Any(operands) => operands.iter().flat_map(Operand::fields).collect(),
            Operand::Apply(_, operand) => operand.fields(),
        }
    }
}

/// A part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Path,
    PathDecoded,
    Query,
    QueryAll,
    QueryNames,
    QueryJoined,
    Parameter(Vec<u8>),
    Method,
    Host,
    HeadersAll,
    Header(Vec<u8>),
    CookiesAll,
    Cookie(Vec<u8>),
    Client,
    Country,
}

impl Field {
    /// Whether the field is part of the path or the query.
    pub(crate) fn is_of_target(&self) -> bool {
        matches!(
            self,
            Field::Path
                | Field::PathDecoded
                | Field::Query
                | Field::QueryAll
                | Field::QueryNames
                | Field::QueryJoined
                | Field::Parameter(_)
        )
    }

    /// Whether the field is part of the header fields.
    pub(crate) fn is_of_headers(&self) -> bool {
        matches!(self, Field::HeadersAll | Field::Header(_) | Field::CookiesAll | Field::Cookie(_))
    }

    /// Parses the name of a field without a free part.
    fn plain(name: &str) -> Option<Field> {
        Some(match name {
            "path" => Field::Path,
            "path.decoded" => Field::PathDecoded,
            "query" => Field::Query,
            "query.*" => Field::QueryAll,
            "query_names" => Field::QueryNames,
            "query_joined" => Field::QueryJoined,
            "method" => Field::Method,
            "host" => Field::Host,
            "headers.*" => Field::HeadersAll,
            "cookie.*" => Field::CookiesAll,
            "client" => Field::Client,
            "country" => Field::Country,
            _ => return None,
        })
    }

    /// Returns a parameter, header field or cookie by its name.
    fn named(family: &str, name: &[u8]) -> Option<Field> {
        Some(match family {
            "query" => Field::Parameter(name.to_vec()),
            "header" => Field::Header(name.to_ascii_lowercase()),
            "cookie" => Field::Cookie(name.to_vec()),
            _ => return None,
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Field::Path => "path",
            Field::PathDecoded => "path.decoded",
            Field::Query => "query",
            Field::QueryAll => "query.*",
            Field::QueryNames => "query_names",
            Field::QueryJoined => "query_joined",
            Field::Method => "method",
            Field::Host => "host",
            Field::HeadersAll => "headers.*",
            Field::CookiesAll => "cookie.*",
            Field::Client => "client",
            Field::Country => "country",
            Field::Parameter(name) => return write!(f, "query.{}", name.escape_ascii()),
            Field::Header(name) => return write!(f, "header.{}", name.escape_ascii()),
            Field::Cookie(name) => return write!(f, "cookie.{}", name.escape_ascii()),
        };
        f.write_str(plain)
    }
}

/// A change to a text before the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transform {
    Lower,
    UrlDecode,
    UrlDecodeAll,
    NormalizePath,
    NormalizeText,
}

impl Transform {
    fn named(name: &str) -> Option<Transform> {
        Some(match name {
            "lower" => Transform::Lower,
            "url_decode" => Transform::UrlDecode,
            "url_decode_all" => Transform::UrlDecodeAll,
            "normalize_path" => Transform::NormalizePath,
            "normalize_text" => Transform::NormalizeText,
            _ => return None,
        })
    }
}

/// A fault in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// The byte of the fault, counted from 1.
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.what)
    }
}

/// The longest expression, in bytes.
pub(crate) const LONGEST: usize = 4096;

/// The deepest nesting of parentheses, functions and `not`.
const DEPTH: usize = 32;

/// The most tests of an expression.
const TESTS: usize = 128;

/// The most items of a list.
const ITEMS: usize = 256;
