//! Scripts against the browsers of other users. The texts are in lower case, with white space as
//! one space.

use super::{BuiltIn, text_matches};

pub(super) const RULES: &[BuiltIn] = &[
    BuiltIn {
        id: "xss-script",
        score: 5,
        lane: "xss",
        what: "a script element",
        when: text_matches!(r"<[ \/]*(?:[a-z]+:)?script\b"),
    },
    BuiltIn {
        id: "xss-handler",
        score: 5,
        lane: "xss",
        what: "an element with an event handler",
        when: text_matches!(r#"<[a-z!?\/][^>]*[ \/"'`]on[a-z]+ ?="#),
    },
    BuiltIn {
        id: "xss-attribute",
        score: 5,
        lane: "xss",
        what: "a quotation mark, then an event handler",
        when: text_matches!(
            r#"["'`][ \/]*on(?:abort|animation[a-z]+|auxclick|before[a-z]+|blur|change|click|copy|cut|dblclick|drag[a-z]*|drop|error|focus(?:in|out)?|hashchange|input|key(?:down|press|up)|load(?:end|start|eddata)?|message|mouse[a-z]+|page(?:show|hide)|paste|pointer[a-z]+|reset|resize|scroll|select|submit|toggle|touch[a-z]+|transition[a-z]+|unload|wheel) ?="#
        ),
    },
    BuiltIn {
        id: "xss-uri",
        score: 5,
        lane: "xss",
        what: "a URI that is a script",
        when: text_matches!(
            r#"(?:^|["'=(>,;]) ?(?:j ?a ?v ?a|v ?b|l ?i ?v ?e) ?s ?c ?r ?i ?p ?t ?: ?(?:\/\/|[^ ]*[(`=])"#
        ),
    },
    BuiltIn {
        id: "xss-data-uri",
        score: 5,
        lane: "xss-b",
        what: "a data URI with a document that may have scripts",
        when: text_matches!(r"data: ?(?:text\/html|image\/svg\+?[ ]?xml|application\/xhtml)[^,]*,"),
    },
    BuiltIn {
        id: "xss-element",
        score: 5,
        lane: "xss-b",
        what: "an element that loads something, with an attribute",
        when: text_matches!(
            r"<(?:iframe|frame|frameset|embed|object|applet|meta|link|base|svg|math|form|img|image|video|audio|source|body|style|details|marquee|isindex|button|input|textarea|animate|set)(?:[ \/][^>]*)?[ \/][a-z:-]+ ?="
        ),
    },
    BuiltIn {
        id: "xss-breakout",
        score: 5,
        lane: "xss",
        what: "the end of a string, then the call of a function of browsers",
        when: text_matches!(
            r#"['"`][ ;)}\]*,-]*(?:alert|confirm|prompt|eval|settimeout|setinterval|fetch|import|atob|document\.write(?:ln)?) ?[(`]"#
        ),
    },
    BuiltIn {
        id: "xss-call",
        score: 5,
        lane: "xss-c",
        what: "a call of a function of browsers with the page's secrets or code",
        when: text_matches!(
            r"\b(?:alert|confirm|prompt|eval|settimeout|setinterval|fetch|atob|function) ?[(`][^)]*(?:\bdocument ?[.\[]|\bwindow ?[.\[]|\blocation ?[.=\[]|fromcharcode|\batob ?\(|\bself ?\[|\btop ?\[)"
        ),
    },
    BuiltIn {
        id: "xss-location",
        score: 5,
        lane: "xss-c",
        what: "a cookie or an address of the page that is set or sent",
        when: text_matches!(
            r#"\b(?:document|window|self|top|parent) ?\. ?(?:location|cookie|domain)(?: ?\. ?(?:href|hash|search))? ?= ?['"`a-z(\/]"#
        ),
    },
];
