//! The parser of expressions: one function per rule of the grammar. Each looks only at the next
//! token.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::scanner::Scanner;
use super::{
    DEPTH, Expression, Field, ITEMS, LONGEST, Measure, NumberTest, Operand, SyntaxError, TESTS,
    TextTest, Transform,
};

/// Parses an expression.
///
/// # Errors
/// Names the place of the fault and the expected text.
pub(crate) fn parse(text: &str) -> Result<Expression, SyntaxError> {
    if text.len() > LONGEST {
        let what = format!("an expression may have at most {LONGEST} bytes");
        return Err(SyntaxError { at: LONGEST + 1, what });
    }
    let mut parser = Parser { scanner: Scanner::new(text), depth: 0, tests: 0 };
    let expression = parser.or()?;
    if !parser.scanner.is_at_end() {
        return Err(parser.scanner.expected("and, or, or the end"));
    }
    Ok(expression)
}

struct Parser<'t> {
    scanner: Scanner<'t>,
    depth: usize,
    tests: usize,
}

/// The left side of an operator.
enum Subject {
    Text(Operand),
    Number(Measure, Operand),
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Expression, SyntaxError> {
        let first = self.and()?;
        let mut all = vec![first];
        while self.scanner.takes_word("or") {
            all.push(self.and()?);
        }
        Ok(one_or(all, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, SyntaxError> {
        let first = self.not()?;
        let mut all = vec![first];
        while self.scanner.takes_word("and") {
            all.push(self.not()?);
        }
        Ok(one_or(all, Expression::And))
    }

    fn not(&mut self) -> Result<Expression, SyntaxError> {
        if self.scanner.takes_word("not") {
            let inner = self.deeper(Self::not)?;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.scanner.takes("(") {
            let inner = self.deeper(Self::or)?;
            self.sign(")")?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, SyntaxError> {
        self.tests += 1;
        if self.tests > TESTS {
            return Err(self.too_many(&format!("an expression may have at most {TESTS} tests")));
        }
        match self.subject()? {
            Subject::Text(operand) => self.text_test(operand),
            Subject::Number(measure, operand) => self.number_test(measure, operand),
        }
    }

    fn subject(&mut self) -> Result<Subject, SyntaxError> {
        let measure = match self.scanner.peek_word() {
            "len" => Measure::Len,
            "count" => Measure::Count,
            _ => return Ok(Subject::Text(self.operand()?)),
        };
        self.scanner.word();
        self.sign("(")?;
        let operand = self.deeper(Self::operand)?;
        self.sign(")")?;
        Ok(Subject::Number(measure, operand))
    }

    fn operand(&mut self) -> Result<Operand, SyntaxError> {
        let at = self.scanner.at();
        let word = self.scanner.word();
        if let Some(transform) = Transform::named(word) {
            self.sign("(")?;
            let operand = self.deeper(Self::operand)?;
            self.sign(")")?;
            return Ok(Operand::Apply(transform, Box::new(operand)));
        }
        if word == "any" {
            self.sign("(")?;
            let operands = self.items(")", |parser| parser.deeper(Self::operand))?;
            return Ok(Operand::Any(operands));
        }
        self.field(at, word).map(Operand::Field)
    }

    fn field(&mut self, at: usize, word: &str) -> Result<Field, SyntaxError> {
        if let Some(field) = Field::plain(word) {
            return Ok(field);
        }
        let unknown = "a field such as path, query.NAME or header.NAME, or a function";
        let Some((family, name)) = word.split_once('.') else {
            return Err(self.scanner.expected_at(at, unknown));
        };
        let name = match name {
            "" if self.scanner.touches_quote() => self.scanner.string()?,
            name => name.as_bytes().to_vec(),
        };
        let field = Field::named(family, &name).filter(|_| !name.is_empty());
        field.ok_or_else(|| self.scanner.expected_at(at, unknown))
    }

    fn text_test(&mut self, operand: Operand) -> Result<Expression, SyntaxError> {
        if self.scanner.takes("==") {
            let text = self.scanner.string()?;
            return Ok(Expression::Text(operand, TextTest::In(vec![text])));
        }
        if self.scanner.takes("!=") {
            let text = self.scanner.string()?;
            let equal = Expression::Text(operand, TextTest::In(vec![text]));
            return Ok(Expression::Not(Box::new(equal)));
        }
        let at = self.scanner.at();
        let test = match self.scanner.word() {
            "contains" => TextTest::Contains(self.scanner.string()?),
            "starts_with" => TextTest::StartsWith(self.scanner.string()?),
            "ends_with" => TextTest::EndsWith(self.scanner.string()?),
            "matches" => {
                let at = self.scanner.at();
                TextTest::Matches(self.scanner.regex()?, at + 1)
            }
            "in" if self.scanner.takes_word("network") => {
                if operand != Operand::Field(Field::Client) {
                    return Err(self.scanner.expected_at(at, "in network after client only"));
                }
                return self.networks().map(Expression::Client);
            }
            "in" => {
                self.sign("[")?;
                TextTest::In(self.items("]", |parser| parser.scanner.string())?)
            }
            _ => {
                let what = "==, !=, contains, starts_with, ends_with, matches or in";
                return Err(self.scanner.expected_at(at, what));
            }
        };
        Ok(Expression::Text(operand, test))
    }

    fn number_test(
        &mut self,
        measure: Measure,
        operand: Operand,
    ) -> Result<Expression, SyntaxError> {
        let number = |test| Expression::Number(measure, operand, test);
        if self.scanner.takes("==") {
            return Ok(number(NumberTest::In(vec![self.scanner.number()?])));
        }
        if self.scanner.takes("!=") {
            let equal = number(NumberTest::In(vec![self.scanner.number()?]));
            return Ok(Expression::Not(Box::new(equal)));
        }
        if self.scanner.takes("<") {
            return Ok(number(NumberTest::Below(self.scanner.number()?)));
        }
        if self.scanner.takes(">") {
            return Ok(number(NumberTest::Above(self.scanner.number()?)));
        }
        if self.scanner.takes_word("in") {
            self.sign("[")?;
            return Ok(number(NumberTest::In(self.items("]", |parser| parser.scanner.number())?)));
        }
        Err(self.scanner.expected("==, !=, <, > or in after a number"))
    }

    /// Parses one network, or a list of them.
    fn networks(&mut self) -> Result<Vec<IpNet>, SyntaxError> {
        match self.scanner.takes("[") {
            true => self.items("]", Self::network),
            false => Ok(vec![self.network()?]),
        }
    }

    fn network(&mut self) -> Result<IpNet, SyntaxError> {
        let at = self.scanner.at();
        let text = self.scanner.network();
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match net {
            Ok(net) if net == net.trunc() => Ok(canonical(net)),
            Ok(net) => {
                let what = format!("the network {} (there are bits after its prefix)", net.trunc());
                Err(self.scanner.expected_at(at, &what))
            }
            Err(_) => Err(self.scanner.expected_at(at, "a network such as 10.0.0.0/8")),
        }
    }

    /// Parses items with commas between them, up to the closing sign.
    fn items<T>(
        &mut self,
        end: &str,
        item: impl Fn(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<Vec<T>, SyntaxError> {
        let mut items = vec![item(self)?];
        while self.scanner.takes(",") {
            if items.len() == ITEMS {
                return Err(self.too_many(&format!("a list may have at most {ITEMS} items")));
            }
            items.push(item(self)?);
        }
        if self.scanner.takes(end) {
            return Ok(items);
        }
        Err(self.scanner.expected(&format!("`,` or `{end}`")))
    }

    /// Parses one level deeper.
    fn deeper<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.too_many(&format!("an expression may be at most {DEPTH} deep")));
        }
        let inner = read(self);
        self.depth -= 1;
        inner
    }

    fn sign(&mut self, sign: &str) -> Result<(), SyntaxError> {
        if self.scanner.takes(sign) {
            return Ok(());
        }
        Err(self.scanner.expected(&format!("`{sign}`")))
    }

    fn too_many(&mut self, what: &str) -> SyntaxError {
        SyntaxError { at: self.scanner.at() + 1, what: what.to_owned() }
    }
}

/// Turns `::ffff:192.0.2.0/120` into 192.0.2.0/24 (RFC 4291 §2.5.5.2), because the client's address
/// is then IPv4.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    match mapped.map(|(address, prefix)| Ipv4Net::new(address, prefix)) {
        Some(Ok(v4)) => IpNet::V4(v4),
        _ => net,
    }
}

/// Returns the only expression, or several joined.
fn one_or(mut all: Vec<Expression>, join: impl Fn(Vec<Expression>) -> Expression) -> Expression {
    match all.len() {
        1 => all.remove(0),
        _ => join(all),
    }
}
