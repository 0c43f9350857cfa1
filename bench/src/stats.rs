//! The few statistics that noisy machines allow: medians, their spread, and how sure they are.
//!
//! Samples of latencies have long tails and, on virtual machines, several modes. Means and standard deviations say
//! little about such data, so nothing here assumes a distribution.

use serde::{Deserialize, Serialize};

/// The middle and the ends of some samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The smallest sample.
    pub min: f64,
    /// The largest sample.
    pub max: f64,
    /// How many samples there are.
    pub count: usize,
}

impl Summary {
    /// Summarises `samples`; None if there are none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted(samples);
        Some(Self {
            median: middle(&sorted)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            count: sorted.len(),
        })
    }
}

/// A range of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The median; of an even number of samples the mean of the middle two. None if there are none.
pub fn median(samples: &[f64]) -> Option<f64> {
    middle(&sorted(samples))
}

/// The range in which the true median lies with a probability of at least 95 %, whatever the distribution: from the
/// k-th smallest to the k-th largest sample, with k from the binomial distribution. With fewer than six samples even
/// the whole range is less sure than that; then the whole range is the answer. None if there are no samples.
pub fn confidence_of_median(samples: &[f64]) -> Option<Interval> {
    let sorted = sorted(samples);
    if sorted.is_empty() {
        return None;
    }
    let k = outliers(sorted.len());
    Some(Interval {
        low: *sorted.get(k)?,
        high: *sorted.get(sorted.len() - 1 - k)?,
    })
}

/// How many of `n` samples may be left out at each end: the largest k for which the chance that at most k of them lie
/// below the median is at most 2.5 %.
fn outliers(n: usize) -> usize {
    // Beyond a thousand samples 0.5^n leaves the range of f64, and the normal distribution is as good.
    if n > 1_000 {
        return (n as f64 / 2.0 - 0.98 * (n as f64).sqrt()).floor() as usize;
    }
    let mut exactly = 0.5f64.powi(n as i32);
    let mut at_most = exactly;
    let mut k = 0;
    loop {
        exactly *= (n - k) as f64 / (k + 1) as f64;
        at_most += exactly;
        if at_most > 0.025 {
            return k;
        }
        k += 1;
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted.get(half).copied()
    } else {
        Some((sorted.get(half.checked_sub(1)?)? + sorted.get(half)?) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_even_and_no_samples() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_summary_names_the_middle_and_the_ends() {
        let summary = Summary::of(&[5.0, 1.0, 9.0, 2.0]).unwrap();
        assert_eq!(
            (summary.median, summary.min, summary.max, summary.count),
            (3.5, 1.0, 9.0, 4)
        );
        assert_eq!(Summary::of(&[]), None);
    }

    /// The ranks are those of the printed tables for the sign test.
    #[test]
    fn the_confidence_interval_takes_the_ranks_of_the_sign_test() {
        let ranks = |n: usize| {
            let samples: Vec<f64> = (1..=n).map(|i| i as f64).collect();
            let interval = confidence_of_median(&samples).unwrap();
            (interval.low, interval.high)
        };
        assert_eq!(ranks(1), (1.0, 1.0));
        assert_eq!(ranks(5), (1.0, 5.0));
        assert_eq!(ranks(6), (1.0, 6.0));
        assert_eq!(ranks(9), (2.0, 8.0));
        assert_eq!(ranks(15), (4.0, 12.0));
        assert_eq!(ranks(20), (6.0, 15.0));
        assert_eq!(ranks(25), (8.0, 18.0));
        assert_eq!(ranks(100), (40.0, 61.0));
        assert_eq!(confidence_of_median(&[]), None);
    }

    #[test]
    fn thousands_of_samples_overflow_nothing() {
        let samples: Vec<f64> = (0..5_000).map(f64::from).collect();
        let interval = confidence_of_median(&samples).unwrap();
        assert!(interval.low < 2_499.5 && interval.high > 2_499.5 && interval.high - interval.low < 5_000.0);
    }
}
