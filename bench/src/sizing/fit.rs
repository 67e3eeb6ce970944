//! Least squares, of few coefficients and few rows.
//!
//! What is made small is the sum of the squares of the *relative* residuals, so that a point of 1,000 connections says as much as one of
//! 50,000. No coefficient is negative: nothing here gets cheaper by being more, and a negative one would be noise that is carried beyond the
//! points. Where the best fit has one, that term is left out, and the others are fitted again.

/// What a law's terms are at one point, and what was measured there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// One a term.
    pub(crate) terms: Vec<f64>,
    /// Above 0.
    pub(crate) value: f64,
}

/// The coefficients that fit best, and how well.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    /// One a term; 0 where a term was left out.
    pub(crate) coefficients: Vec<f64>,
    /// The root of the mean of the squared relative residuals.
    pub(crate) rms: f64,
    /// The largest relative residual, without its sign.
    pub(crate) largest: f64,
}

impl Fit {
    /// Of these samples. `None` if they do not determine the coefficients.
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        let terms = samples.first()?.terms.len();
        if !samples.iter().all(|sample| sample.terms.len() == terms && sample.value > 0.0) {
            return None;
        }
        let mut kept: Vec<usize> = (0..terms).collect();
        let coefficients = loop {
            let found = solve(samples, &kept)?;
            let lowest = (0..kept.len()).min_by(|a, b| found[*a].total_cmp(&found[*b]))?;
            if found[lowest] >= 0.0 {
                let mut all = vec![0.0; terms];
                kept.iter().zip(found).for_each(|(term, coefficient)| all[*term] = coefficient);
                break all;
            }
            kept.remove(lowest);
        };
        let residuals: Vec<f64> =
            samples.iter().map(|sample| dot(&coefficients, &sample.terms) / sample.value - 1.0).collect();
        let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
        let largest = residuals.iter().fold(0.0, |largest: f64, residual| largest.max(residual.abs()));
        Some(Self { coefficients, rms: (squares / samples.len() as f64).sqrt(), largest })
    }

    /// What the law says where its terms are these.
    pub(crate) fn value(&self, terms: &[f64]) -> f64 {
        dot(&self.coefficients, terms)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The coefficients of these terms, by the normal equations of rows that are divided by their value. Each column is scaled to 1 first:
/// terms are as far apart as 1 / members and connections.
fn solve(samples: &[Sample], kept: &[usize]) -> Option<Vec<f64>> {
    let rows: Vec<Vec<f64>> =
        samples.iter().map(|sample| kept.iter().map(|term| sample.terms[*term] / sample.value).collect()).collect();
    let count = kept.len();
    let scale: Vec<f64> =
        (0..count).map(|term| rows.iter().fold(0.0, |most: f64, row| most.max(row[term].abs()))).collect();
    if count == 0 || scale.contains(&0.0) {
        return None;
    }
    let mut matrix = vec![vec![0.0; count + 1]; count];
    for row in &rows {
        for (i, line) in matrix.iter_mut().enumerate() {
            for (j, cell) in line.iter_mut().enumerate() {
                *cell += row[i] / scale[i] * if j < count { row[j] / scale[j] } else { 1.0 };
            }
        }
    }
    let found = eliminate(matrix)?;
    Some(found.iter().zip(scale).map(|(coefficient, scale)| coefficient / scale).collect())
}

/// Gauss' elimination with the largest pivot of each column. `None` if there is no one solution.
fn eliminate(mut matrix: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let count = matrix.len();
    let size = matrix.iter().flatten().fold(0.0, |most: f64, cell| most.max(cell.abs()));
    for column in 0..count {
        let pivot = (column..count).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        if matrix[pivot][column].abs() <= size * 1e-12 {
            return None;
        }
        matrix.swap(column, pivot);
        let of_pivot = matrix[column].clone();
        for line in matrix.iter_mut().skip(column + 1) {
            let factor = line[column] / of_pivot[column];
            line.iter_mut().zip(&of_pivot).for_each(|(cell, above)| *cell -= factor * above);
        }
    }
    let mut found = vec![0.0; count];
    for line in (0..count).rev() {
        let known: f64 = (line + 1..count).map(|column| matrix[line][column] * found[column]).sum();
        found[line] = (matrix[line][count] - known) / matrix[line][line];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A planted law over connections, rooms and their reciprocal, as far apart as in life.
    fn planted(noise: impl Fn(usize) -> f64) -> Vec<Sample> {
        let places = [(1e3, 1.0), (5e3, 10.0), (2e4, 1e3), (5e4, 1e5), (1e2, 3e4), (3e3, 7.0)];
        let sample = |(n, (connections, rooms)): (usize, (f64, f64))| {
            let terms = vec![1.0, connections, rooms, 1.0 / rooms];
            let value = (30_000.0 + 3.6 * connections + 1.25 * rooms + 80.0 / rooms) * (1.0 + noise(n));
            Sample { terms, value }
        };
        places.into_iter().enumerate().map(sample).collect()
    }

    #[test]
    fn a_planted_law_is_found() {
        let fit = Fit::of(&planted(|_| 0.0)).expect("determined");
        for (found, planted) in fit.coefficients.iter().zip([30_000.0, 3.6, 1.25, 80.0]) {
            assert!((found / planted - 1.0).abs() < 1e-4, "{fit:?}");
        }
        assert!(fit.largest < 1e-9 && fit.rms < 1e-9, "{fit:?}");
        assert!((fit.value(&[1.0, 0.0, 1.0, 1.0]) / 30_081.25 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn residuals_are_those_of_the_points() {
        let one = |value| Sample { terms: vec![1.0], value };
        // The best constant for 1 and 3, by relative residuals: (1 + 1/3) / (1 + 1/9) = 1.2.
        let fit = Fit::of(&[one(1.0), one(3.0)]).expect("determined");
        assert!((fit.coefficients[0] - 1.2).abs() < 1e-12, "{fit:?}");
        assert!((fit.largest - 0.6).abs() < 1e-12, "{fit:?}");
        assert!((fit.rms - ((0.04 + 0.36) / 2.0_f64).sqrt()).abs() < 1e-12, "{fit:?}");
        let fit = Fit::of(&planted(|n| if n == 2 { 0.1 } else { 0.0 })).expect("determined");
        assert!(fit.largest > 0.005 && fit.largest < 0.1 && fit.rms < fit.largest, "{fit:?}");
    }

    #[test]
    fn what_falls_is_no_term() {
        let falls = |x: f64| Sample { terms: vec![1.0, x], value: 10.0 - x };
        let fit = Fit::of(&[falls(1.0), falls(2.0), falls(3.0)]).expect("determined");
        assert_eq!(fit.coefficients[1], 0.0);
        assert!(fit.coefficients[0] > 7.0 && fit.coefficients[0] < 9.0, "{fit:?}");
    }

    #[test]
    fn too_few_points_determine_nothing() {
        assert_eq!(Fit::of(&[]), None);
        let same = Sample { terms: vec![1.0, 2.0], value: 3.0 };
        assert_eq!(Fit::of(&[same.clone(), same.clone()]), None);
        assert_eq!(Fit::of(&[Sample { terms: vec![0.0], value: 1.0 }]), None);
        assert_eq!(Fit::of(&[Sample { value: 0.0, ..same }]), None);
    }
}
