//! Block Kit as tables: which members a block or element has, of what kind and how long.
//! Source: docs.slack.dev, "Blocks", "Block elements", "Composition objects", "Rich text block".

/// One kind of object, by its `type` (composition objects have none).
pub(super) struct Shape {
    pub name: &'static str,
    pub members: &'static [Member],
}

pub(super) struct Member {
    pub name: &'static str,
    pub kind: Kind,
    pub needed: bool,
}

/// What a member may hold. Lengths are in UTF-16 units and never empty.
pub(super) enum Kind {
    Flag,
    Whole {
        most: i64,
    },
    OneOf(&'static [&'static str]),
    /// A string nobody sees.
    Word {
        most: usize,
    },
    /// A string that people read: it counts for the message's whole text.
    Shown {
        most: usize,
    },
    Url {
        most: usize,
    },
    /// A text object.
    Text {
        most: usize,
    },
    /// A text object of type `plain_text`.
    Plain {
        most: usize,
    },
    Texts {
        items: usize,
        most: usize,
    },
    /// Flags under these names.
    Style(&'static [&'static str]),
    Object(&'static Shape),
    Objects {
        of: &'static Shape,
        least: usize,
        most: usize,
    },
    One(&'static [&'static Shape]),
    Many {
        of: &'static [&'static Shape],
        least: usize,
        most: usize,
    },
    /// Rows of cells.
    Rows {
        of: &'static [&'static Shape],
        rows: usize,
        cells: usize,
    },
    /// Checked by Slack in ways nobody has written down.
    Any,
}

const fn must(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, needed: true }
}

const fn may(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, needed: false }
}

const NO_LIMIT: usize = usize::MAX;
const BLOCK_ID: Member = may("block_id", Kind::Word { most: 255 });
const ACTION_ID: Member = may("action_id", Kind::Word { most: 255 });

/// Most blocks in a message; modals, which take 100, are not simulated.
pub(super) const MOST_BLOCKS: usize = 50;
/// Text of all blocks together, in UTF-16 units. Not documented: 9,600 were seen to pass, 11,300 to fail (bolt-js #2867).
pub(super) const MOST_TEXT: usize = 11_000;
/// Text of all `markdown` blocks together.
pub(super) const MOST_MARKDOWN: usize = 12_000;

pub(super) static BLOCKS: &[&Shape] =
    &[&SECTION, &HEADER, &CONTEXT, &ACTIONS, &DIVIDER, &IMAGE_BLOCK, &MARKDOWN, &RICH_TEXT, &TABLE];

static SECTION: Shape = Shape {
    name: "section",
    members: &[
        may("text", Kind::Text { most: 3000 }),
        may("fields", Kind::Texts { items: 10, most: 2000 }),
        may("accessory", Kind::One(&[&BUTTON, &IMAGE, &OVERFLOW, &SELECT])),
        may("expand", Kind::Flag),
        BLOCK_ID,
    ],
};
static HEADER: Shape = Shape { name: "header", members: &[must("text", Kind::Plain { most: 150 }), BLOCK_ID] };
static CONTEXT: Shape = Shape {
    name: "context",
    members: &[must("elements", Kind::Many { of: &[&PLAIN_TEXT, &MRKDWN, &IMAGE], least: 1, most: 10 }), BLOCK_ID],
};
static ACTIONS: Shape = Shape {
    name: "actions",
    members: &[must("elements", Kind::Many { of: &[&BUTTON, &OVERFLOW, &SELECT], least: 1, most: 25 }), BLOCK_ID],
};
static DIVIDER: Shape = Shape { name: "divider", members: &[BLOCK_ID] };
static IMAGE_BLOCK: Shape = Shape {
    name: "image",
    members: &[
        must("image_url", Kind::Url { most: 3000 }),
        must("alt_text", Kind::Word { most: 2000 }),
        may("title", Kind::Plain { most: 2000 }),
        BLOCK_ID,
    ],
};
static MARKDOWN: Shape =
    Shape { name: "markdown", members: &[must("text", Kind::Shown { most: MOST_MARKDOWN }), BLOCK_ID] };
static TABLE: Shape = Shape {
    name: "table",
    members: &[
        must("rows", Kind::Rows { of: &[&RAW_TEXT, &RICH_TEXT], rows: 100, cells: 20 }),
        may("column_settings", Kind::Any),
        BLOCK_ID,
    ],
};
static RAW_TEXT: Shape = Shape { name: "raw_text", members: &[must("text", Kind::Shown { most: NO_LIMIT })] };

static PLAIN_TEXT: Shape =
    Shape { name: "plain_text", members: &[must("text", Kind::Shown { most: 3000 }), may("emoji", Kind::Flag)] };
static MRKDWN: Shape =
    Shape { name: "mrkdwn", members: &[must("text", Kind::Shown { most: 3000 }), may("verbatim", Kind::Flag)] };
pub(super) static TEXTS: &[&Shape] = &[&PLAIN_TEXT, &MRKDWN];
pub(super) static PLAIN_TEXTS: &[&Shape] = &[&PLAIN_TEXT];

static BUTTON: Shape = Shape {
    name: "button",
    members: &[
        must("text", Kind::Plain { most: 75 }),
        ACTION_ID,
        may("url", Kind::Url { most: 3000 }),
        may("value", Kind::Word { most: 2000 }),
        may("style", Kind::OneOf(&["primary", "danger"])),
        may("confirm", Kind::Object(&CONFIRM)),
        may("accessibility_label", Kind::Word { most: 75 }),
    ],
};
static IMAGE: Shape = Shape {
    name: "image",
    members: &[must("image_url", Kind::Url { most: 3000 }), must("alt_text", Kind::Word { most: 2000 })],
};
static OVERFLOW: Shape = Shape {
    name: "overflow",
    members: &[
        must("options", Kind::Objects { of: &OPTION, least: 2, most: 5 }),
        ACTION_ID,
        may("confirm", Kind::Object(&CONFIRM)),
    ],
};
static SELECT: Shape = Shape {
    name: "static_select",
    members: &[
        must("options", Kind::Objects { of: &OPTION, least: 1, most: 100 }),
        may("initial_option", Kind::Object(&OPTION)),
        may("placeholder", Kind::Plain { most: 150 }),
        ACTION_ID,
        may("confirm", Kind::Object(&CONFIRM)),
        may("focus_on_load", Kind::Flag),
    ],
};
static OPTION: Shape = Shape {
    name: "option",
    members: &[
        must("text", Kind::Text { most: 75 }),
        must("value", Kind::Word { most: 150 }),
        may("description", Kind::Plain { most: 75 }),
        may("url", Kind::Url { most: 3000 }),
    ],
};
static CONFIRM: Shape = Shape {
    name: "confirm",
    members: &[
        must("title", Kind::Plain { most: 100 }),
        must("text", Kind::Text { most: 300 }),
        must("confirm", Kind::Plain { most: 30 }),
        must("deny", Kind::Plain { most: 30 }),
        may("style", Kind::OneOf(&["primary", "danger"])),
    ],
};

static RICH_TEXT: Shape = Shape {
    name: "rich_text",
    members: &[must("elements", Kind::Many { of: RICH, least: 1, most: NO_LIMIT }), BLOCK_ID],
};
static RICH: &[&Shape] = &[&RICH_SECTION, &RICH_LIST, &RICH_PREFORMATTED, &RICH_QUOTE];
static RICH_SECTION: Shape = Shape {
    name: "rich_text_section",
    members: &[must("elements", Kind::Many { of: INLINE, least: 1, most: NO_LIMIT })],
};
static RICH_LIST: Shape = Shape {
    name: "rich_text_list",
    members: &[
        must("style", Kind::OneOf(&["bullet", "ordered"])),
        must("elements", Kind::Many { of: &[&RICH_SECTION], least: 1, most: NO_LIMIT }),
        may("indent", Kind::Whole { most: 8 }),
        may("offset", Kind::Whole { most: i64::MAX }),
        may("border", Kind::Whole { most: 1 }),
    ],
};
static RICH_PREFORMATTED: Shape = Shape {
    name: "rich_text_preformatted",
    members: &[
        must("elements", Kind::Many { of: &[&RICH_WORDS, &RICH_LINK], least: 1, most: NO_LIMIT }),
        may("border", Kind::Whole { most: 1 }),
        may("language", Kind::Word { most: 255 }),
    ],
};
static RICH_QUOTE: Shape = Shape {
    name: "rich_text_quote",
    members: &[
        must("elements", Kind::Many { of: INLINE, least: 1, most: NO_LIMIT }),
        may("border", Kind::Whole { most: 1 }),
    ],
};

static INLINE: &[&Shape] =
    &[&RICH_WORDS, &RICH_LINK, &RICH_USER, &RICH_GROUP, &RICH_CHANNEL, &RICH_EMOJI, &RICH_DATE, &RICH_BROADCAST];
const STYLE: Member = may("style", Kind::Style(&["bold", "italic", "strike", "code", "underline"]));
static RICH_WORDS: Shape = Shape { name: "text", members: &[must("text", Kind::Shown { most: NO_LIMIT }), STYLE] };
static RICH_LINK: Shape = Shape {
    name: "link",
    members: &[
        must("url", Kind::Url { most: 3000 }),
        may("text", Kind::Shown { most: NO_LIMIT }),
        may("unsafe", Kind::Flag),
        STYLE,
    ],
};
static RICH_USER: Shape = Shape { name: "user", members: &[must("user_id", Kind::Word { most: 255 }), STYLE] };
static RICH_GROUP: Shape =
    Shape { name: "usergroup", members: &[must("usergroup_id", Kind::Word { most: 255 }), STYLE] };
static RICH_CHANNEL: Shape = Shape { name: "channel", members: &[must("channel_id", Kind::Word { most: 255 }), STYLE] };
static RICH_EMOJI: Shape = Shape {
    name: "emoji",
    members: &[
        must("name", Kind::Word { most: 255 }),
        may("unicode", Kind::Word { most: 255 }),
        may("skin_tone", Kind::Whole { most: 6 }),
        STYLE,
    ],
};
static RICH_DATE: Shape = Shape {
    name: "date",
    members: &[
        must("timestamp", Kind::Whole { most: i64::MAX }),
        must("format", Kind::Word { most: 255 }),
        may("url", Kind::Url { most: 3000 }),
        may("fallback", Kind::Shown { most: NO_LIMIT }),
        STYLE,
    ],
};
static RICH_BROADCAST: Shape =
    Shape { name: "broadcast", members: &[must("range", Kind::OneOf(&["here", "channel", "everyone"])), STYLE] };
