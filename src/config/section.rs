//! Keys and their sections: each key is described once, here is where everything else reads it.

use super::raw::Raw;

/// One key, as the reference, the default file, the flags and the errors show it.
#[derive(Debug, Clone)]
pub struct Key {
    /// The section; empty for the top of the file.
    pub section: &'static str,
    /// The name inside its section.
    pub name: &'static str,
    /// What it decides, in Markdown.
    pub doc: String,
    /// The kind of value.
    pub kind: String,
    /// What is allowed.
    pub allowed: String,
    /// The default as TOML; `None` where `unset` says what decides.
    pub default: Option<String>,
    /// What is the case when the key is not set and has no default of its own.
    pub unset: &'static str,
    /// A value as TOML, for a key without a default.
    pub example: &'static str,
    /// Whether SIGHUP changes it in a running pod.
    pub live: bool,
    /// Whether it is a list: its flag can be repeated.
    pub list: bool,
    /// Whether its values must never be shown.
    pub secret: bool,
    flag: Option<&'static str>,
}

impl Key {
    /// The name with its section: `limits.max_rooms`.
    #[must_use]
    pub fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// The flag without its dashes: `limits-max-rooms`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.flag.map_or_else(|| self.path().replace(['.', '_'], "-"), str::to_owned)
    }

    /// The environment variable: `ROOMCAST_LIMITS_MAX_ROOMS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ROOMCAST_{}", self.flag().replace('-', "_").to_ascii_uppercase())
    }

    /// Gives the flag another name than the path's.
    pub(crate) fn flag_is(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// Says what is the case when the key is not set, and gives an example of setting it.
    pub(crate) fn unset(mut self, unset: &'static str, example: &'static str) -> Self {
        self.unset = unset;
        self.example = example;
        self
    }

    /// Marks the values as secret.
    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) fn new<K: super::value::Kind>(
        section: &'static str,
        name: &'static str,
        doc: &str,
        kind: &K,
        default: &K::Value,
        live: bool,
    ) -> Self {
        Self {
            section,
            name,
            doc: doc.lines().map(str::trim).collect::<Vec<_>>().join("\n"),
            kind: kind.name(),
            allowed: kind.allowed(),
            default: kind.render(default),
            unset: "",
            example: "",
            live,
            list: kind.is_list(),
            secret: false,
            flag: None,
        }
    }
}

/// Keys that belong together, and their values.
pub(crate) trait Section {
    /// The table of the file; empty for its top.
    fn name(&self) -> &'static str;
    /// What the section is about.
    fn about(&self) -> &'static str;
    /// Its keys, in the order of the reference.
    fn keys(&self) -> Vec<Key>;
    /// Sets one key; the error is the reason why not. The key must be one of [`Section::keys`].
    fn set(&mut self, key: &str, raw: &Raw) -> Result<(), String>;
    /// The nearest value that one key can have, where this one is out of its range.
    fn nearest(&self, key: &str, raw: &Raw) -> Option<Raw>;
    /// The value of one key as TOML; `None` when it is not set.
    fn get(&self, key: &str) -> Option<String>;
}

/// Which keys differ between a running configuration and a newer one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Paths of keys that change at once.
    pub live: Vec<String>,
    /// Paths of keys that change at the next start.
    pub restart: Vec<String>,
}

/// A [`Section`] that can be compared with an older one.
pub(crate) trait Settle {
    /// Notes what differs from `running`, and takes back what needs a restart.
    fn settle(&mut self, running: &Self, changes: &mut Changes);
}

/// Implements [`Section`] and [`Settle`] for a struct, from one line a key:
/// `field = kind, live|restart, more of Key…;`
macro_rules! describe {
    ($name:ident in $section:literal, $about:expr, $default:expr, {
        $( $(#[doc = $doc:literal])+ $field:ident = $kind:expr, $reload:ident $(, $more:ident($($arg:expr),*))*; )*
    }) => {
        impl $crate::config::section::Section for $name {
            fn name(&self) -> &'static str {
                $section
            }

            fn about(&self) -> &'static str {
                $about
            }

            fn keys(&self) -> Vec<$crate::config::section::Key> {
                let default: $name = $default;
                vec![$(
                    $crate::config::section::Key::new(
                        $section,
                        stringify!($field),
                        concat!($($doc, "\n"),+).trim_ascii_end(),
                        &$kind,
                        &default.$field,
                        $crate::config::section::describe!(@$reload),
                    )$(.$more($($arg),*))*
                ),*]
            }

            fn set(&mut self, key: &str, raw: &$crate::config::raw::Raw) -> Result<(), String> {
                use $crate::config::value::Kind;
                match key {
                    $(stringify!($field) => self.$field = ($kind).parse(raw)?,)*
                    _ => return Err("there is no such key".to_owned()),
                }
                Ok(())
            }

            fn nearest(&self, key: &str, raw: &$crate::config::raw::Raw) -> Option<$crate::config::raw::Raw> {
                use $crate::config::value::Kind;
                match key {
                    $(stringify!($field) => ($kind).nearest(raw),)*
                    _ => None,
                }
            }

            fn get(&self, key: &str) -> Option<String> {
                use $crate::config::value::Kind;
                match key {
                    $(stringify!($field) => ($kind).render(&self.$field),)*
                    _ => None,
                }
            }
        }

        impl $crate::config::section::Settle for $name {
            fn settle(&mut self, running: &Self, changes: &mut $crate::config::section::Changes) {
                let path = |name: &str| if $section.is_empty() { name.to_owned() } else { format!("{}.{name}", $section) };
                $(if self.$field != running.$field {
                    if $crate::config::section::describe!(@$reload) {
                        changes.live.push(path(stringify!($field)));
                    } else {
                        changes.restart.push(path(stringify!($field)));
                        self.$field = running.$field.clone();
                    }
                })*
            }
        }
    };
    (@live) => { true };
    (@restart) => { false };
}

/// A struct whose fields are the keys of a section:
/// `/// what it decides` `field: Type = default, kind, live|restart, more of Key…;`
macro_rules! section {
    (
        #[doc = $about:literal]
        pub struct $name:ident in $section:literal {
            $( $(#[doc = $doc:literal])+
               $field:ident: $type:ty = $default:expr, $kind:expr, $reload:ident $(, $more:ident($($arg:expr),*))*; )*
        }
    ) => {
        #[doc = $about]
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }

        $crate::config::section::describe!($name in $section, $about.trim_ascii(), $name::default(), {
            $( $(#[doc = $doc])+ $field = $kind, $reload $(, $more($($arg),*))*; )*
        });
    };
}

pub(crate) use describe;
pub(crate) use section;
