//! How often it is tried to replace a record that other pods change meanwhile.
//!
//! Pure. Always holds: there is an end to it.

use crate::broker::BrokerError;

/// The attempts to replace one record.
#[derive(Debug, Default)]
pub(super) struct Attempts(usize);

impl Attempts {
    /// The most attempts.
    const MOST: usize = 16;

    /// Begins one more. Whether it is not the first.
    ///
    /// # Errors
    /// There were too many.
    pub(super) fn begin(&mut self) -> Result<bool, BrokerError> {
        if self.0 >= Self::MOST {
            return Err(BrokerError::Unavailable("other pods change this user's record all the time".to_owned()));
        }
        self.0 += 1;
        Ok(self.0 > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_it() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.begin(), Ok(false));
        for _ in 1..Attempts::MOST {
            assert_eq!(attempts.begin(), Ok(true));
        }
        assert!(matches!(attempts.begin(), Err(BrokerError::Unavailable(_))));
    }
}
