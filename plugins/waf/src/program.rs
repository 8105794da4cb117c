//! Compiled expressions: work that several of them need is done once per request.
//!
//! Tests of the same operand share its values. The regular expressions of an operand are tried
//! together, all expressions of a lane in one pass (see `lanes`).

use std::borrow::Cow;

use crate::lanes::{self, Lane, Set};
use crate::language::{
    Expression, Field, Measure, NumberTest, Operand, SyntaxError, TextTest, Transform,
};
use crate::message::{Message, Value};
use crate::transform;
use ipnet::IpNet;

/// The operands of all rules.
#[derive(Debug, Default)]
pub(crate) struct Program {
    subjects: Vec<Subject>,
}

/// An operand, and the regular expressions for it.
#[derive(Debug)]
struct Subject {
    operand: Operand,
    patterns: Vec<(Lane, String)>,
    sets: Vec<Set>,
}

/// An expression that refers to the subjects of its program.
#[derive(Debug)]
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Text(usize, TextTest),
    /// A regular expression of a subject's set.
    Pattern(usize, usize),
    Number(Measure, usize, NumberTest),
    Client(Vec<IpNet>),
}

impl Program {
    /// Adds an expression.
    ///
    /// # Errors
    /// Names the unusable regular expression.
    pub(crate) fn add(&mut self, expression: Expression, lane: Lane) -> Result<Node, SyntaxError> {
        Ok(match expression {
            Expression::And(all) => Node::And(self.add_all(all, lane)?),
            Expression::Or(all) => Node::Or(self.add_all(all, lane)?),
            Expression::Not(inner) => Node::Not(Box::new(self.add(*inner, lane)?)),
            Expression::Text(operand, TextTest::Matches(pattern, at)) => {
                if let Lane::User(_) = lane {
                    lanes::check(&pattern).map_err(|what| SyntaxError { at, what })?;
                }
                let subject = self.subject(operand);
                Node::Pattern(subject, self.pattern(subject, lane, pattern))
            }
            Expression::Text(operand, test) => Node::Text(self.subject(operand), test),
            Expression::Number(measure, operand, test) => {
                Node::Number(measure, self.subject(operand), test)
            }
            Expression::Client(nets) => Node::Client(nets),
        })
    }

    /// Builds the sets, after all expressions are added.
    ///
    /// # Errors
    /// Fails if the regular expressions of a lane together are too large.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        let lanes: Vec<Vec<Lane>> = self.subjects.iter().map(Subject::lanes).collect();
        let of_users = lanes.iter().flatten().filter(|lane| lane.is_user()).count();
        for (subject, lanes) in self.subjects.iter_mut().zip(lanes) {
            for lane in lanes {
                subject.build(lane, lane.cache(of_users))?;
            }
        }
        Ok(())
    }

    /// Returns all fields that the program reads.
    pub(crate) fn fields(&self) -> Vec<&Field> {
        self.subjects.iter().flat_map(|subject| subject.operand.fields()).collect()
    }

    /// Returns the patterns of each lane of each operand.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> Vec<Vec<&str>> {
        let mut all = Vec::new();
        for subject in &self.subjects {
            for lane in subject.lanes() {
                let patterns = subject.patterns.iter().filter(|(other, _)| *other == lane);
                all.push(patterns.map(|(_, pattern)| pattern.as_str()).collect());
            }
        }
        all
    }

    fn add_all(&mut self, all: Vec<Expression>, lane: Lane) -> Result<Vec<Node>, SyntaxError> {
        all.into_iter().map(|one| self.add(one, lane)).collect()
    }

    fn subject(&mut self, operand: Operand) -> usize {
        let known = self.subjects.iter().position(|subject| subject.operand == operand);
        known.unwrap_or_else(|| {
            self.subjects.push(Subject { operand, patterns: Vec::new(), sets: Vec::new() });
            self.subjects.len() - 1
        })
    }

    fn pattern(&mut self, subject: usize, lane: Lane, pattern: String) -> usize {
        let Some(subject) = self.subjects.get_mut(subject) else { return 0 };
        let known = subject.patterns.iter().position(|(_, known)| *known == pattern);
        known.unwrap_or_else(|| {
            subject.patterns.push((lane, pattern));
            subject.patterns.len() - 1
        })
    }
}

impl Subject {
    fn lanes(&self) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = self.patterns.iter().map(|(lane, _)| *lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    fn build(&mut self, lane: Lane, cache: usize) -> Result<(), String> {
        let patterns = self.patterns.iter().enumerate();
        let of_lane = patterns.filter(|(_, (other, _))| *other == lane);
        let (members, patterns): (Vec<_>, Vec<_>) =
            of_lane.map(|(at, (_, pattern))| (at, pattern)).unzip();
        self.sets.push(Set::new(lane, members, &patterns, cache)?);
        Ok(())
    }

    /// Returns, for each pattern, the field of the first matching value. Returns an empty list if
    /// nothing matches.
    fn hits<'a>(&self, values: &[Value<'a>]) -> Vec<Option<&'a Field>> {
        let mut hits = Vec::new();
        for value in values {
            for Set { regexes, members } in &self.sets {
                // Most values match nothing. This test needs no allocation.
                if !regexes.is_match(&value.bytes) {
                    continue;
                }
                hits.resize(self.patterns.len(), None);
                for index in regexes.matches(&value.bytes) {
                    let hit = members.get(index).and_then(|pattern| hits.get_mut(*pattern));
                    if let Some(hit) = hit {
                        hit.get_or_insert(value.field);
                    }
                }
            }
        }
        hits
    }
}

/// A true expression, with the field that it is true of, if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit<'a>(pub(crate) Option<&'a Field>);

/// The facts of one request. Each is computed on first use.
pub(crate) struct Facts<'a, 'r> {
    program: &'a Program,
    message: &'a Message<'r>,
    known: Vec<Option<Known<'a>>>,
}

/// The facts of a subject.
struct Known<'a> {
    values: Vec<Value<'a>>,
    /// For each pattern, the field of the first matching value. Empty if nothing matches.
    hits: Vec<Option<&'a Field>>,
}

impl<'a, 'r> Facts<'a, 'r> {
    pub(crate) fn new(program: &'a Program, message: &'a Message<'r>) -> Self {
        let known = program.subjects.iter().map(|_| None).collect();
        Self { program, message, known }
    }

    /// Tests an expression.
    pub(crate) fn test(&mut self, node: &Node) -> Option<Hit<'a>> {
        match node {
            Node::And(all) => {
                let mut first = None;
                for node in all {
                    let Hit(field) = self.test(node)?;
                    first = first.or(field);
                }
                Some(Hit(first))
            }
            Node::Or(all) => all.iter().find_map(|node| self.test(node)),
            Node::Not(inner) => match self.test(inner) {
                Some(_) => None,
                None => Some(Hit(None)),
            },
            Node::Pattern(subject, pattern) => {
                let hit = *self.known(*subject)?.hits.get(*pattern)?;
                hit.map(|field| Hit(Some(field)))
            }
            Node::Text(subject, test) => {
                let values = &self.known(*subject)?.values;
                let found = values.iter().find(|value| holds_text(test, &value.bytes))?;
                Some(Hit(Some(found.field)))
            }
            Node::Number(Measure::Len, subject, test) => {
                let values = &self.known(*subject)?.values;
                let found = values.iter().find(|value| holds_number(test, value.bytes.len()))?;
                Some(Hit(Some(found.field)))
            }
            Node::Number(Measure::Count, subject, test) => {
                let values = &self.known(*subject)?.values;
                let field = values.first().map(|value| value.field);
                holds_number(test, values.len()).then_some(Hit(field))
            }
            Node::Client(nets) => {
                let address = self.message.address()?;
                nets.iter().any(|net| net.contains(&address)).then_some(Hit(Some(&Field::Client)))
            }
        }
    }

    fn known(&mut self, index: usize) -> Option<&Known<'a>> {
        let subject = self.program.subjects.get(index)?;
        let message = self.message;
        let slot = self.known.get_mut(index)?;
        Some(slot.get_or_insert_with(|| {
            let mut values = Vec::new();
            read(&subject.operand, message, &mut values);
            message.bound(&mut values);
            let hits = subject.hits(&values);
            Known { values, hits }
        }))
    }
}

/// Adds the values of an operand.
fn read<'a>(operand: &'a Operand, message: &'a Message<'_>, values: &mut Vec<Value<'a>>) {
    match operand {
        Operand::Field(field) => message.values(field, values),
        Operand::Any(operands) => {
            operands.iter().for_each(|operand| read(operand, message, values));
        }
        Operand::Apply(transform, operand) => {
            let first = values.len();
            read(operand, message, values);
            let mut seconds = Vec::new();
            for value in values.iter_mut().skip(first) {
                let bytes = std::mem::take(&mut value.bytes);
                let (bytes, second) = apply(*transform, bytes);
                value.bytes = bytes;
                let field = value.field;
                seconds.extend(second.map(|bytes| Value { field, bytes: Cow::Owned(bytes) }));
            }
            values.append(&mut seconds);
        }
    }
}

fn apply(transform: Transform, bytes: Cow<'_, [u8]>) -> (Cow<'_, [u8]>, Option<Vec<u8>>) {
    match transform {
        Transform::Lower => (transform::lower(bytes), None),
        Transform::UrlDecode => (transform::url_decode(bytes), None),
        Transform::UrlDecodeAll => (transform::url_decode_all(bytes), None),
        Transform::NormalizePath => (transform::normalize_path(bytes), None),
        Transform::NormalizeText => transform::normalize_text(bytes),
    }
}

fn holds_text(test: &TextTest, text: &[u8]) -> bool {
    match test {
        TextTest::In(texts) => texts.iter().any(|other| other == text),
        TextTest::Contains(part) => {
            part.is_empty() || text.windows(part.len()).any(|window| window == part)
        }
        TextTest::StartsWith(part) => text.starts_with(part),
        TextTest::EndsWith(part) => text.ends_with(part),
        // Regular expressions are tested by the sets.
        TextTest::Matches(..) => false,
    }
}

fn holds_number(test: &NumberTest, number: usize) -> bool {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    match test {
        NumberTest::In(numbers) => numbers.contains(&number),
        NumberTest::Below(bound) => number < *bound,
        NumberTest::Above(bound) => number > *bound,
    }
}
