//! Writes the reference of the plugin interface, in Markdown, from the comments in `wit/`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use wit_parser::{
    Docs, Function, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId, WorldItem,
};

/// Writes the page for the package in a folder.
///
/// # Errors
///
/// If the folder has no package that can be read.
pub fn reference(wit: &Path) -> anyhow::Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("read {}", wit.display()))?;
    let package = resolve.packages.get(package).context("the package just read")?;
    let mut page = format!("# The plugin interface: `{}`\n\n{INTRODUCTION}", package.name);
    for (name, world) in &package.worlds {
        let Some(world) = resolve.worlds.get(*world) else { continue };
        let _ = write!(page, "\n## World `{name}`\n\n{}", text(&world.docs));
        let imports = world.imports.values().filter_map(|item| match item {
            WorldItem::Interface { id, .. } => resolve.interfaces.get(*id)?.name.as_deref(),
            _ => None,
        });
        // Interfaces that contain only types are imported implicitly.
        let imports: Vec<String> = imports
            .filter(|name| matches!(*name, "host" | "state"))
            .map(|name| format!("[`{name}`](#interface-{name})"))
            .collect();
        let _ = write!(page, "\nImports {}. Exports:\n\n", imports.join(" and "));
        for item in world.exports.values() {
            if let WorldItem::Function(function) = item {
                page.push_str(&function_entry(&resolve, function));
            }
        }
    }
    for (name, interface) in &package.interfaces {
        page.push_str(&interface_section(&resolve, name, *interface));
    }
    Ok(wrapped(&page))
}

fn interface_section(resolve: &Resolve, name: &str, id: InterfaceId) -> String {
    let Some(interface) = resolve.interfaces.get(id) else { return String::new() };
    let mut section = format!("\n## Interface `{name}`\n\n{}", text(&interface.docs));
    for (name, id) in &interface.types {
        section.push_str(&type_section(resolve, name, *id));
    }
    if !interface.functions.is_empty() {
        section.push('\n');
    }
    for function in interface.functions.values() {
        section.push_str(&function_entry(resolve, function));
    }
    section
}

fn type_section(resolve: &Resolve, name: &str, id: TypeId) -> String {
    let Some(def) = resolve.types.get(id) else { return String::new() };
    let mut section = format!("\n### {} `{name}`\n\n{}", def.kind.as_str(), text(&def.docs));
    let rows = members(resolve, def);
    if !rows.is_empty() {
        section.push('\n');
    }
    for (what, docs) in rows {
        let _ = writeln!(section, "- {what}: {}", line(docs));
    }
    section
}

/// Returns the fields or cases of a type, each with its own type and its comment.
pub(crate) fn members<'a>(resolve: &Resolve, def: &'a TypeDef) -> Vec<(String, &'a Docs)> {
    match &def.kind {
        TypeDefKind::Record(record) => record
            .fields
            .iter()
            .map(|field| (format!("`{}: {}`", field.name, shown(resolve, &field.ty)), &field.docs))
            .collect(),
        TypeDefKind::Variant(variant) => variant
            .cases
            .iter()
            .map(|case| {
                let payload = case.ty.as_ref().map(|ty| format!("({})", shown(resolve, ty)));
                (format!("`{}{}`", case.name, payload.unwrap_or_default()), &case.docs)
            })
            .collect(),
        TypeDefKind::Enum(values) => {
            values.cases.iter().map(|case| (format!("`{}`", case.name), &case.docs)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns a function as WIT writes it.
pub(crate) fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<String> = function
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, shown(resolve, &param.ty)))
        .collect();
    let result = function.result.as_ref().map(|ty| format!(" -> {}", shown(resolve, ty)));
    format!("{}: func({}){}", function.name, parameters.join(", "), result.unwrap_or_default())
}

fn function_entry(resolve: &Resolve, function: &Function) -> String {
    let docs = indented(&text(&function.docs));
    format!("- `{}`\n\n{docs}\n", signature(resolve, function))
}

fn shown(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else {
        return match ty {
            Type::String => "string",
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S64 => "s64",
            _ => "?",
        }
        .to_owned();
    };
    let Some(def) = resolve.types.get(*id) else { return "?".to_owned() };
    if let Some(name) = &def.name {
        return name.clone();
    }
    let all = |types: &[Type]| {
        let types: Vec<String> = types.iter().map(|ty| shown(resolve, ty)).collect();
        types.join(", ")
    };
    match &def.kind {
        TypeDefKind::List(ty) => format!("list<{}>", shown(resolve, ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", shown(resolve, ty)),
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", all(&tuple.types)),
        TypeDefKind::Result(result) => {
            let part =
                |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), |ty| shown(resolve, ty));
            format!("result<{}, {}>", part(&result.ok), part(&result.err))
        }
        _ => "?".to_owned(),
    }
}

fn text(docs: &Docs) -> String {
    docs.contents.as_deref().map_or(String::new(), |text| format!("{}\n", text.trim()))
}

fn line(docs: &Docs) -> String {
    text(docs).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect()
}

/// Wraps the long lines of a generated page at 100 columns. Tables, headings, comments and code
/// stay as they are.
pub fn wrapped(page: &str) -> String {
    let mut wrapped = String::with_capacity(page.len());
    for line in page.lines() {
        let is_whole = line.starts_with(['|', '#', '<']) || !line.contains(' ');
        let is_code = line.starts_with("- `") && line.ends_with('`');
        if is_whole || is_code || line.chars().count() <= COLUMNS {
            wrapped.push_str(line);
        } else {
            wrap(line, &mut wrapped);
        }
        wrapped.push('\n');
    }
    wrapped
}

fn wrap(line: &str, into: &mut String) {
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let indent = indent + if line.trim_start().starts_with("- ") { 2 } else { 0 };
    let mut column = 0;
    for word in line.split_inclusive(' ') {
        let width = word.trim_end().chars().count();
        if column > indent && column + width > COLUMNS {
            into.truncate(into.trim_end().len());
            into.push('\n');
            into.push_str(&" ".repeat(indent));
            column = indent;
        }
        into.push_str(word);
        column += word.chars().count();
    }
}

/// The columns of a page.
const COLUMNS: usize = 100;

const INTRODUCTION: &str = "\
Made from the comments in `wit/` by `cargo run -p weir-sdk-build -- reference > docs/wit.md`; a test compares.
The interface has plain functions, records, variants and lists only, so every language with a component toolchain can be used.
";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_page_is_up_to_date_and_says_something_of_everything() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = reference(&root.join("wit")).unwrap();
        let written = fs::read_to_string(root.join("docs/wit.md")).unwrap();
        let hint = "run `cargo run -p weir-sdk-build -- reference > docs/wit.md`";
        assert!(page == written, "docs/wit.md is not what wit/ says: {hint}");
        for line in page.lines() {
            assert!(!line.ends_with(": "), "without a comment: {line}");
            assert!(!line.contains('?'), "a type that is not known: {line}");
        }
    }
}
