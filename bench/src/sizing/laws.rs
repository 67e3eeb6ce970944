//! The laws: of each curve what its value is made of, fitted to its points.
//!
//! Always holds: a law says what it was fitted to, how far from it the points lie, and whether a place lies beyond them.

use std::fmt;

use super::{
    fit::{Fit, Sample},
    points::{At, Points},
};
use crate::error::BenchError;

/// One part of a law: a coefficient times this.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Term {
    /// 1.
    Always,
    /// A parameter.
    Times(&'static str),
    /// 1 over a parameter.
    Over(&'static str),
}

/// What a curve is, and which terms its value has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Its points have this name.
    pub(crate) curve: &'static str,
    /// What its value is.
    pub(crate) what: &'static str,
    /// In which unit.
    pub(crate) unit: &'static str,
    terms: &'static [Term],
}

use Term::{Always, Over, Times};

/// CPU of one frame to one connection: what each costs, what its bytes cost, what is colder where more connections are held, and the part
/// of it in what its event cost this pod once.
const FRAME: &[Term] = &[Always, Times("kib"), Times("thousands"), Over("members")];

/// Every law.
pub(crate) const SHAPES: [Shape; 15] = [
    shape(
        "memory",
        "memory of a pod's process",
        "KiB",
        &[
            Always,
            Times("redis"),
            Times("sockets"),
            Times("sessions"),
            Times("plain_sockets"),
            Times("rooms"),
            Times("memberships"),
        ],
    ),
    shape("kernel", "the kernel's memory of a pod's TCP socket, without what is queued in it", "KiB", &[Always]),
    shape("quiet", "CPU of a pod without events: pings", "us a second", &[Times("sockets"), Times("sessions")]),
    shape("join-websocket", "CPU of a TLS handshake, the upgrade and the first room", "us", &[Always]),
    shape("join-webtransport", "CPU of a QUIC handshake, the session and the first room", "us", &[Always]),
    shape("frame-websocket", "CPU of a frame to one WebSocket", "us", FRAME),
    shape("frame-webtransport", "CPU of a frame to one WebTransport session", "us", FRAME),
    shape("wire-websocket", "a compressed frame of a WebSocket, TLS included", "bytes", &[Always, Times("bytes")]),
    shape("wire-websocket-plain", "a plain frame of a WebSocket, TLS included", "bytes", &[Always, Times("bytes")]),
    shape("wire-webtransport", "a compressed frame of a session", "bytes", &[Always, Times("bytes")]),
    shape("wire-webtransport-plain", "a plain frame of a session", "bytes", &[Always, Times("bytes")]),
    shape("publish", "CPU of the pod that publishes an event to Redis", "us", &[Always, Over("events_a_call")]),
    shape(
        "take",
        "CPU of another pod that takes an event from Redis and sends it to one plain socket",
        "us",
        &[Always, Over("events_a_call")],
    ),
    shape("redis", "CPU of Redis for an event, over one server", "us", &[Always, Over("events_a_call"), Times("pods")]),
    shape("redis-memory", "memory of Redis for rooms without events, a pod in each", "KiB", &[Always, Times("rooms")]),
];

const fn shape(curve: &'static str, what: &'static str, unit: &'static str, terms: &'static [Term]) -> Shape {
    Shape { curve, what, unit, terms }
}

/// A law that was fitted.
#[derive(Debug, Clone)]
pub(crate) struct Law {
    /// Which.
    pub(crate) shape: Shape,
    /// To what, and how well.
    pub(crate) fit: Fit,
    /// How many points it was fitted to.
    pub(crate) points: usize,
    /// Of each parameter of its terms, the smallest and the largest of its points.
    pub(crate) ranges: Vec<(&'static str, f64, f64)>,
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Laws(Vec<Law>);

/// What a law says at a place, and whether that was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    /// The value.
    pub(crate) value: f64,
    /// What of the place lies beyond the points.
    pub(crate) beyond: Vec<Beyond>,
    /// The largest relative residual of the law.
    pub(crate) largest: f64,
}

/// A parameter that lies beyond the points of a law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Beyond {
    /// Which.
    pub(crate) parameter: &'static str,
    /// Where it lies.
    value: f64,
    /// The smallest and the largest that were measured.
    range: (f64, f64),
}

impl Beyond {
    /// Adds it to others; of the same parameter and the same range the one that lies farther out stays.
    pub(crate) fn add_to(self, others: &mut Vec<Self>) {
        let same = |other: &&mut Self| (other.parameter, other.range) == (self.parameter, self.range);
        let out = |one: &Self| (one.value - one.range.1).max(one.range.0 - one.value);
        match others.iter_mut().find(same) {
            Some(other) if out(other) < out(&self) => *other = self,
            Some(_) => {}
            None => others.push(self),
        }
    }
}

/// `sockets 25,000 (measured 1,000 to 19,000)`.
impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [value, least, most] = [self.value, self.range.0, self.range.1].map(number);
        write!(f, "{} {value} (measured {least} to {most})", self.parameter.replace('_', " "))
    }
}

impl Term {
    fn of(self, at: &At) -> f64 {
        let value = |name| at.get(name).copied().unwrap_or(0.0);
        match self {
            Always => 1.0,
            Times(name) => value(name),
            Over(name) if value(name) > 0.0 => 1.0 / value(name),
            Over(_) => 0.0,
        }
    }

    /// The parameter that it depends on.
    fn name(self) -> Option<&'static str> {
        match self {
            Always => None,
            Times(name) | Over(name) => Some(name),
        }
    }
}

impl Law {
    fn of(shape: Shape, points: &Points) -> Result<Self, BenchError> {
        let own: Vec<_> = points.of(shape.curve).collect();
        let terms = |at: &At| shape.terms.iter().map(|term| term.of(at)).collect();
        let samples: Vec<_> = own.iter().map(|p| Sample { terms: terms(&p.at), value: p.value }).collect();
        let fit = Fit::of(&samples).ok_or_else(|| {
            let (curve, count) = (shape.curve, own.len());
            BenchError::Usage(format!(
                "{count} points do not determine the law of {curve}: measure it (size --measure FILE --only {curve})"
            ))
        })?;
        let range = |name: &'static str| {
            let values = || own.iter().map(|point| point.at.get(name).copied().unwrap_or(0.0));
            (name, values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
        };
        let ranges = shape.terms.iter().filter_map(|term| term.name()).map(range).collect();
        Ok(Self { shape, fit, points: own.len(), ranges })
    }

    /// What it says there.
    pub(crate) fn at(&self, at: &At) -> Said {
        let terms: Vec<f64> = self.shape.terms.iter().map(|term| term.of(at)).collect();
        let beyond = self.ranges.iter().filter_map(|&(name, least, most)| {
            let value = at.get(name).copied().unwrap_or(0.0);
            // Where fewer members share it, a frame costs more, not less.
            let is_over = self.shape.terms.contains(&Over(name));
            let is_beyond = value > most * 1.005 && !is_over || value < least * 0.995 && is_over;
            is_beyond.then_some(Beyond { parameter: name, value, range: (least, most) })
        });
        Said { value: self.fit.value(&terms), beyond: beyond.collect(), largest: self.fit.largest }
    }

    /// `28,000 + 3.6 × sockets + 80 / members`.
    pub(crate) fn formula(&self) -> String {
        let parts = self.shape.terms.iter().zip(&self.fit.coefficients).filter(|(_, factor)| **factor > 0.0);
        let part = |(term, factor): (&Term, &f64)| match term {
            Always => number(*factor),
            Times(name) => format!("{} × {}", number(*factor), name.replace('_', " ")),
            Over(name) => format!("{} / {}", number(*factor), name.replace('_', " ")),
        };
        parts.map(part).collect::<Vec<_>>().join(" + ")
    }
}

impl Laws {
    /// Fitted to these points. Fails if they do not determine one of them.
    pub(crate) fn of(points: &Points) -> Result<Self, BenchError> {
        SHAPES.into_iter().map(|shape| Law::of(shape, points)).collect::<Result<_, _>>().map(Self)
    }

    /// Each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Law> {
        self.0.iter()
    }

    /// What the law of a curve says at a place.
    pub(crate) fn at(&self, curve: &str, at: &At) -> Said {
        self.law(curve).at(at)
    }

    /// The most of a parameter that a curve was measured with.
    pub(crate) fn most(&self, curve: &str, parameter: &str) -> f64 {
        let ranges = &self.law(curve).ranges;
        ranges.iter().find(|(name, ..)| *name == parameter).map_or(0.0, |(.., most)| *most)
    }

    fn law(&self, curve: &str) -> &Law {
        let law = self.0.iter().find(|law| law.shape.curve == curve);
        law.unwrap_or_else(|| unreachable!("{curve} is one of the shapes"))
    }
}

/// As many digits as mean something: 12,345 or 12.3 or 0.012.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 || (value - value.round()).abs() < 1e-6 => crate::report::thousands(value.round() as u64),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 => trimmed(format!("{value:.2}")),
        _ => trimmed(format!("{value:.4}")),
    }
}

/// Without zeros behind the point.
fn trimmed(text: String) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::points::{Point, at},
        *,
    };

    const LINE: Shape = shape("line", "a line", "us", &[Always, Times("sockets"), Over("members")]);

    fn line() -> Law {
        let point = |sockets: f64, members: f64| Point {
            curve: "line".into(),
            at: at([("sockets", sockets), ("members", members)]),
            value: 5.0 + 2.0 * sockets + 30.0 / members,
            unit: "us".into(),
            commit: "c".into(),
            command: format!("{sockets} {members}"),
        };
        let places = [(1.0, 10.0), (10.0, 2.0), (100.0, 5.0), (1_000.0, 1_000.0)];
        let points = places.into_iter().map(|(sockets, members)| point(sockets, members)).collect();
        Law::of(LINE, &Points { points, ..Points::default() }).expect("determined")
    }

    #[test]
    fn a_law_is_found_and_written() {
        let law = line();
        assert_eq!(law.formula(), "5 + 2 × sockets + 30 / members");
        let said = law.at(&at([("sockets", 50.0), ("members", 3.0)]));
        assert!((said.value - 115.0).abs() < 1e-6 && said.beyond.is_empty(), "{said:?}");
    }

    #[test]
    fn what_lies_beyond_the_points_is_said() {
        let law = line();
        let said = law.at(&at([("sockets", 2_000.0), ("members", 1e6)]));
        let shown = |said: &Said| said.beyond.iter().map(Beyond::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&said), ["sockets 2,000 (measured 1 to 1,000)"], "more members cost less each");
        let mut all = said.beyond;
        for sockets in [1_500.0, 3_000.0] {
            law.at(&at([("sockets", sockets), ("members", 5.0)])).beyond.into_iter().for_each(|b| b.add_to(&mut all));
        }
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].to_string(), "sockets 3,000 (measured 1 to 1,000)");
        let said = law.at(&at([("sockets", 0.5), ("members", 1.0)]));
        assert_eq!(shown(&said), ["members 1 (measured 2 to 1,000)"]);
    }

    #[test]
    fn points_that_do_not_determine_a_law_are_refused_by_its_name() {
        let error = Laws::of(&Points::default()).expect_err("no points").to_string();
        assert!(error.contains("0 points do not determine the law of memory"), "{error}");
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let shown = [12_345.6, 99.96, 12.34, 9.996, 1.5, 0.25, 0.0123, 0.0, 2.0].map(number);
        assert_eq!(shown, ["12,346", "100", "12.3", "10.0", "1.5", "0.25", "0.0123", "0", "2"]);
    }

    #[test]
    fn the_committed_points_determine_every_law_and_lie_near_it() {
        let points = Points::committed().expect("a file of points");
        let laws = Laws::of(&points).expect("every law");
        for law in laws.iter() {
            assert!(law.fit.rms < 0.35, "{}: {:?}", law.shape.curve, law.fit);
        }
        let known = |curve: &str| SHAPES.iter().any(|shape| shape.curve == curve);
        assert!(points.points.iter().all(|point| known(&point.curve) && !point.commit.is_empty()));
        let unit = |curve: &str| SHAPES.iter().find(|shape| shape.curve == curve).map(|shape| shape.unit);
        assert!(points.points.iter().all(|point| unit(&point.curve) == Some(point.unit.as_str())));
    }
}
