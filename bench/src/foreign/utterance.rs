//! What a server of another project can say to one of its clients.

/// One thing that was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Utterance<'a> {
    /// The room is joined.
    Joined,
    /// An event came, with these data: JSON.
    Event(&'a str),
    /// An event came, as its difference from the one before.
    Delta(&'a [u8]),
    /// This is to be answered.
    Answer(String),
    /// It does not concern a client.
    Nothing,
    /// It is an error, or no message of the language.
    Wrong,
}
