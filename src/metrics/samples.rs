//! A pod's own metrics, read back from their text: what `/status` shows is what Prometheus is told.
//!
//! Never counts anything itself. Always holds: a series that is not there reads as nothing, never as an error.

/// One series and its value.
#[derive(Debug, Clone, Copy)]
struct Series<'a> {
    name: &'a str,
    /// As they stand between the braces.
    labels: &'a str,
    value: f64,
}

/// The series of one rendering.
#[derive(Debug, Clone, Default)]
pub struct Samples<'a>(Vec<Series<'a>>);

/// A histogram: how many samples were at most so large, by upper bounds in ascending order, the last one infinite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets(Vec<(f64, f64)>);

impl<'a> Samples<'a> {
    /// Reads the text format of Prometheus (version 0.0.4).
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.filter_map(Series::of).collect())
    }

    /// The sum of the series of this name that have all of these labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.named(name).filter(|series| series.has(labels)).map(|series| series.value).sum()
    }

    /// A sum that counts things.
    // A counter is never negative, and below 2^53.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    #[must_use]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels).max(0.0) as u64
    }

    /// The values of these labels, and the value, of each series of a name.
    pub fn each<const N: usize>(
        &self,
        name: &str,
        labels: [&str; N],
    ) -> impl Iterator<Item = ([&'a str; N], f64)> + use<'_, 'a, N> {
        let of = move |series: &Series<'a>| (labels.map(|label| series.label(label).unwrap_or_default()), series.value);
        self.named(name).map(of).collect::<Vec<_>>().into_iter()
    }

    /// A histogram, all of its series together.
    #[must_use]
    pub fn buckets(&self, name: &str) -> Buckets {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for series in self.0.iter().filter(|series| series.name.strip_suffix("_bucket") == Some(name)) {
            let Some(bound) = series.label("le").and_then(bound) else { continue };
            match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += series.value,
                None => buckets.push((bound, series.value)),
            }
        }
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Buckets(buckets)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Series<'a>> {
        self.0.iter().filter(move |series| series.name == name)
    }
}

fn bound(text: &str) -> Option<f64> {
    if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() }
}

impl<'a> Series<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        Some(Self { name, labels, value: value.parse().ok()? })
    }

    /// Our labels have no quotes, commas or backslashes in their values.
    fn label(&self, wanted: &str) -> Option<&'a str> {
        let pairs = self.labels.split(',').filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.trim_matches('"'))
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

impl Buckets {
    /// What came since an earlier reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            let found = earlier.0.iter().find(|(known, _)| known.total_cmp(&bound).is_eq());
            found.map_or(0.0, |(_, count)| *count)
        };
        Self(self.0.iter().map(|(bound, count)| (*bound, (count - before(*bound)).max(0.0))).collect())
    }

    /// The value that a part of the samples does not exceed, interpolated within its bucket as Prometheus' `histogram_quantile`
    /// does; `None`: there are no samples.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let (_, all) = *self.0.last()?;
        if all <= 0.0 {
            return None;
        }
        let rank = part * all;
        let (mut lower, mut below) = (0.0, 0.0);
        for &(upper, count) in &self.0 {
            if count >= rank && count > below {
                // Beyond the last bound nothing more is known than that.
                return Some(if upper.is_finite() {
                    lower + (upper - lower) * (rank - below) / (count - below)
                } else {
                    lower
                });
            }
            if upper.is_finite() {
                lower = upper;
            }
            below = count;
        }
        Some(lower)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a What it is.\n# TYPE a gauge\na{x=\"1\",y=\"p\"} 2\na{x=\"1\",y=\"q\"} 3\na{x=\"2\",y=\"p\"} 0.5\n\nb 7\n\
        h_bucket{le=\"0.1\"} 0\nh_bucket{le=\"0.2\"} 8\nh_bucket{le=\"0.4\"} 10\nh_bucket{le=\"+Inf\"} 10\nh_sum 1.5\nh_count 10\n";

    #[test]
    fn series_are_found_by_name_and_labels() {
        let samples = Samples::of(TEXT);
        assert_eq!(samples.count("b", &[]), 7);
        assert_eq!(samples.sum("a", &[]), 5.5);
        assert_eq!(samples.sum("a", &[("x", "1")]), 5.0);
        assert_eq!(samples.sum("a", &[("y", "q"), ("x", "1")]), 3.0);
        assert_eq!((samples.sum("a", &[("x", "3")]), samples.sum("none", &[])), (0.0, 0.0));
        let each: Vec<_> = samples.each("a", ["y", "x"]).collect();
        assert_eq!(each, [(["p", "1"], 2.0), (["q", "1"], 3.0), (["p", "2"], 0.5)]);
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let buckets = Samples::of(TEXT).buckets("h");
        // histogram_quantile(0.5, h): 5 of 8 in (0.1, 0.2].
        assert_eq!(buckets.quantile(0.5), Some(0.1 + 0.1 * 5.0 / 8.0));
        assert_eq!(buckets.quantile(0.99).map(|value| (value * 1e6).round()), Some(390_000.0));
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(buckets.since(&buckets).quantile(0.5), None);
        let later = Samples::of(
            "h_bucket{le=\"0.1\"} 5\nh_bucket{le=\"0.2\"} 13\nh_bucket{le=\"0.4\"} 15\nh_bucket{le=\"+Inf\"} 16\n",
        );
        // Five below 0.1 and one beyond all bounds came since.
        let since = later.buckets("h").since(&buckets);
        assert_eq!((since.quantile(0.5), since.quantile(0.99)), (Some(0.1 * 3.0 / 5.0), Some(0.4)));
    }
}
