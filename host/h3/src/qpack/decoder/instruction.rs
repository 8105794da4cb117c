//! Follows the encoder stream, one instruction at a time (RFC 9204 §4.3).

use super::table::{Entry, Table};
use crate::qpack::error::Error;
use crate::qpack::field::{Name, OVERHEAD};
use crate::qpack::string::Literal;
use crate::qpack::{integer, static_table, string};

/// Follows the first instruction of `input` and returns the bytes after it, or `None` if the
/// instruction is incomplete.
///
/// # Errors
/// The errors of the encoder stream in RFC 9204, as soon as `input` shows them.
pub(super) fn follow<'a>(input: &'a [u8], table: &mut Table) -> Result<Option<&'a [u8]>, Error> {
    match input.first() {
        None => Ok(None),
        Some(0x80..) => insert_with_name_reference(input, table),
        Some(0x40..) => insert_with_literal_name(input, table),
        Some(0x20..) => set_capacity(input, table),
        Some(_) => duplicate(input, table),
    }
}

/// RFC 9204 §4.3.1.
fn set_capacity<'a>(input: &'a [u8], table: &mut Table) -> Result<Option<&'a [u8]>, Error> {
    let Some((capacity, rest)) = integer(input, 5)? else { return Ok(None) };
    table.set_capacity(capacity).ok_or(Error::encoder_stream("capacity past the limit"))?;
    Ok(Some(rest))
}

/// RFC 9204 §4.3.2.
fn insert_with_name_reference<'a>(
    input: &'a [u8],
    table: &mut Table,
) -> Result<Option<&'a [u8]>, Error> {
    let Some((index, rest)) = integer(input, 6)? else { return Ok(None) };
    let (name, name_length) = if input.first().is_some_and(|first| first & 0x40 != 0) {
        let line = static_table::line(index).ok_or(UNKNOWN_STATIC)?;
        let name = line.name();
        let length = name.as_str().len();
        (Ok(name), length)
    } else {
        let entry = table.relative(index).ok_or(UNKNOWN_DYNAMIC)?;
        (entry.name(), entry.name_length())
    };
    let room = room(table, name_length)?;
    let Some((value, rest)) = literal(rest, 8, room)? else { return Ok(None) };
    insert(table, Entry::new(name, name_length, &decoded(value, room)?))?;
    Ok(Some(rest))
}

/// RFC 9204 §4.3.3.
fn insert_with_literal_name<'a>(
    input: &'a [u8],
    table: &mut Table,
) -> Result<Option<&'a [u8]>, Error> {
    let whole = room(table, 0)?;
    let Some((name, rest)) = literal(input, 6, whole)? else { return Ok(None) };
    let Some((value, rest)) = literal(rest, 8, whole)? else { return Ok(None) };
    let name = decoded(name, whole)?;
    let value = decoded(value, room(table, name.len())?)?;
    insert(table, Entry::new(Name::parse(&name), name.len(), &value))?;
    Ok(Some(rest))
}

/// RFC 9204 §4.3.4.
fn duplicate<'a>(input: &'a [u8], table: &mut Table) -> Result<Option<&'a [u8]>, Error> {
    let Some((index, rest)) = integer(input, 5)? else { return Ok(None) };
    let entry = table.relative(index).ok_or(UNKNOWN_DYNAMIC)?.clone();
    insert(table, entry)?;
    Ok(Some(rest))
}

fn insert(table: &mut Table, entry: Entry) -> Result<(), Error> {
    table.insert(entry).ok_or(TOO_LARGE)
}

/// Returns the room of an entry besides `taken` bytes.
fn room(table: &Table, taken: usize) -> Result<usize, Error> {
    table.capacity().checked_sub(OVERHEAD + taken).ok_or(TOO_LARGE)
}

fn integer(input: &[u8], prefix: u32) -> Result<Option<(u64, &[u8])>, Error> {
    integer::decode(input, prefix).map_err(|_| OVERFLOW)
}

fn literal(input: &[u8], prefix: u32, limit: usize) -> Result<Option<(Literal<'_>, &[u8])>, Error> {
    string::decode(input, prefix, limit).map_err(|fault| match fault {
        string::Fault::Overflow => OVERFLOW,
        string::Fault::TooLong => TOO_LARGE,
    })
}

fn decoded(literal: Literal<'_>, limit: usize) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    literal.decode_into(limit, &mut text).map_err(|fault| match fault {
        crate::qpack::huffman::Fault::Invalid => Error::encoder_stream("invalid Huffman code"),
        crate::qpack::huffman::Fault::Full => TOO_LARGE,
    })?;
    Ok(text)
}

const UNKNOWN_STATIC: Error = Error::encoder_stream("no such entry in the static table");
const UNKNOWN_DYNAMIC: Error = Error::encoder_stream("no such entry in the dynamic table");
const TOO_LARGE: Error = Error::encoder_stream("entry larger than the table");
const OVERFLOW: Error = Error::encoder_stream("integer past 62 bits");
