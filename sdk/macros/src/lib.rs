//! The attributes of `weir-sdk`; its documentation describes them.

use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

/// On `impl Balancer for T`: exports `T` as the component's balancer.
#[proc_macro_attribute]
pub fn balancer(arguments: TokenStream, item: TokenStream) -> TokenStream {
    export("balancer", "Balancer", "export_balancer", &arguments, item)
}

/// On `impl Filter for T`: exports `T` as the component's filter.
#[proc_macro_attribute]
pub fn filter(arguments: TokenStream, item: TokenStream) -> TokenStream {
    export("filter", "Filter", "export_filter", &arguments, item)
}

/// On `impl BodyFilter for T`: exports `T`, which is also a `Filter`, as the component's filter of
/// bodies.
#[proc_macro_attribute]
pub fn body_filter(arguments: TokenStream, item: TokenStream) -> TokenStream {
    export("body_filter", "BodyFilter", "export_body_filter", &arguments, item)
}

/// Returns the item unchanged, followed by `::weir_sdk::export_…!(T);`.
fn export(
    attribute: &str,
    wanted: &str,
    export: &str,
    arguments: &TokenStream,
    item: TokenStream,
) -> TokenStream {
    if !arguments.is_empty() {
        return error(&format!("#[weir_sdk::{attribute}] takes no arguments"));
    }
    let Some((name, subject)) = implementation(item.clone()) else {
        return error(&format!("#[weir_sdk::{attribute}] belongs on `impl {wanted} for …`"));
    };
    if name != wanted {
        return error(&format!(
            "#[weir_sdk::{attribute}] belongs on `impl {wanted} for …`, not on {name}"
        ));
    }
    let mut output = item;
    let colon = |spacing| TokenTree::from(Punct::new(':', spacing));
    output.extend([
        colon(Spacing::Joint),
        colon(Spacing::Alone),
        Ident::new("weir_sdk", Span::call_site()).into(),
        colon(Spacing::Joint),
        colon(Spacing::Alone),
        Ident::new(export, Span::call_site()).into(),
        Punct::new('!', Spacing::Alone).into(),
        Group::new(Delimiter::Parenthesis, subject).into(),
        Punct::new(';', Spacing::Alone).into(),
    ]);
    output
}

/// Returns the trait's last name and the type of `impl path::Trait for Type { … }`, and skips
/// attributes before it.
fn implementation(item: TokenStream) -> Option<(String, TokenStream)> {
    let mut tokens = item.into_iter().skip_while(|token| !is(token, "impl"));
    tokens.next()?;
    let mut name = None;
    for token in tokens.by_ref() {
        match token {
            TokenTree::Ident(word) if word.to_string() == "for" => break,
            TokenTree::Ident(word) => name = Some(word.to_string()),
            TokenTree::Group(_) => return None,
            _ => {}
        }
    }
    let is_body = |token: &TokenTree| matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
    let subject: TokenStream = tokens.take_while(|token| !is_body(token)).collect();
    (!subject.is_empty()).then_some((name?, subject))
}

fn is(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

fn error(message: &str) -> TokenStream {
    let message = TokenTree::from(proc_macro::Literal::string(message));
    let mut output = TokenStream::new();
    output.extend([
        TokenTree::from(Ident::new("compile_error", Span::call_site())),
        Punct::new('!', Spacing::Alone).into(),
        Group::new(Delimiter::Parenthesis, message.into()).into(),
        Punct::new(';', Spacing::Alone).into(),
    ]);
    output
}
