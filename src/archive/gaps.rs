//! Which events a page does not have and never will.
//!
//! Pure. Always holds: what lies behind the beginning of the next life is the log's no more, and not missing.

use crate::model::{Epoch, Offset};

/// Events that the archive does not have, and that will not come: they were published while the room was not archived, or are `unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRange {
    /// Their epoch.
    pub epoch: Epoch,
    /// The first.
    pub from: Offset,
    /// The last.
    pub to: Offset,
}

/// Where an event stands, and the life of the log that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlaceInLife {
    pub(super) generation: i64,
    pub(super) epoch: Epoch,
    /// The first and the last offset that are the log's own of this life.
    pub(super) span: (Offset, Offset),
    pub(super) offset: Offset,
}

/// What is missing between events that follow each other.
pub(super) fn missing<'a>(places: impl Iterator<Item = &'a PlaceInLife>) -> Vec<MissingRange> {
    let mut gaps = Vec::new();
    let mut gap = |place: &PlaceInLife, from: Offset, to: Offset| {
        let to = to.min(place.span.1);
        if from <= to {
            gaps.push(MissingRange { epoch: place.epoch.clone(), from, to });
        }
    };
    let mut before: Option<&PlaceInLife> = None;
    for place in places {
        match before {
            None => {}
            Some(before) if before.generation == place.generation => gap(place, before.offset + 1, place.offset - 1),
            Some(before) => {
                gap(before, before.offset + 1, before.span.1);
                gap(place, place.span.0, place.offset - 1);
            }
        }
        before = Some(place);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(generation: i64, span: (u64, u64), offset: u64) -> PlaceInLife {
        PlaceInLife { generation, epoch: Epoch::new(&format!("e{generation}")), span, offset }
    }

    fn said(places: &[PlaceInLife]) -> Vec<String> {
        missing(places.iter()).iter().map(|gap| format!("{} {}-{}", gap.epoch, gap.from, gap.to)).collect()
    }

    #[test]
    fn only_what_the_log_had_is_missing() {
        let (first, second) = ((1, 90), (91, u64::MAX));
        assert!(said(&[]).is_empty() && said(&[place(1, first, 7)]).is_empty());
        assert!(said(&[place(1, first, 7), place(1, first, 8)]).is_empty());
        assert_eq!(said(&[place(1, first, 7), place(1, first, 10)]), ["e1 8-9"]);
        assert!(said(&[place(1, first, 90), place(2, second, 91)]).is_empty());
        assert!(said(&[place(1, first, 90), place(1, first, 95), place(2, second, 91)]).is_empty(), "rolled back");
        assert_eq!(said(&[place(1, first, 88), place(1, first, 95), place(2, second, 93)]), ["e1 89-90", "e2 91-92"]);
        assert_eq!(said(&[place(1, (1, 0), 7), place(2, (1, u64::MAX), 2)]), ["e2 1-1"], "a log that began anew");
    }
}
