//! A value that may be known in part: what was still going on when nobody looked any more lasted at
//! least so long, and a difference of two such values may be anything.

use std::fmt;
use std::ops::Sub;

use serde::{Serialize, Serializer};
use serde_json::json;

use super::number;

/// What a value is at least, and at most: the same where it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub least: f64,
    pub most: f64,
}

impl Reading {
    pub fn at_least(value: f64) -> Reading {
        Reading {
            least: value,
            most: f64::INFINITY,
        }
    }

    pub fn is_exact(&self) -> bool {
        self.least == self.most
    }

    /// Where it is drawn: what is known of it, on the side where anything is.
    pub fn shown(&self) -> f64 {
        match (self.least.is_finite(), self.most.is_finite()) {
            (true, _) => self.least,
            (false, true) => self.most,
            (false, false) => 0.0,
        }
    }

    /// With a plus sign where it is above zero.
    pub fn signed(&self) -> String {
        self.text(|v| match v > 0.0 {
            true => format!("+{}", number(v)),
            false => number(v),
        })
    }

    fn text(&self, number: impl Fn(f64) -> String) -> String {
        let Reading { least, most } = *self;
        match (least.is_finite(), most.is_finite()) {
            _ if self.is_exact() => number(least),
            (true, true) => format!("{}..{}", number(least), number(most)),
            (true, false) => format!("≥ {}", number(least)),
            (false, true) => format!("≤ {}", number(most)),
            (false, false) => "not known".into(),
        }
    }

    /// In the middle of the two.
    pub fn between(self, other: Reading) -> Reading {
        Reading {
            least: (self.least + other.least) / 2.0,
            most: (self.most + other.most) / 2.0,
        }
    }
}

impl From<f64> for Reading {
    fn from(value: f64) -> Reading {
        Reading {
            least: value,
            most: value,
        }
    }
}

impl Sub for Reading {
    type Output = Reading;

    fn sub(self, other: Reading) -> Reading {
        Reading {
            least: self.least - other.most,
            most: self.most - other.least,
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(number))
    }
}

/// A number; what is not known as one says what is.
impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.is_exact() {
            return s.serialize_f64(self.least);
        }
        let mut bounds = serde_json::Map::new();
        for (name, bound) in [("at least", self.least), ("at most", self.most)] {
            if bound.is_finite() {
                bounds.insert(name.into(), json!(bound));
            }
        }
        bounds.serialize(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let (two, five) = (Reading::from(2.0), Reading::at_least(5.0));
        assert_eq!([two, five].map(|r| r.to_string()), ["2.00", "≥ 5.00"]);
        assert_eq!((five - two).signed(), "≥ +3.00");
        assert_eq!((two - five).signed(), "≤ -3.00");
        assert_eq!((five - five).signed(), "not known");
        assert_eq!(two.between(five), Reading::at_least(3.5));
        assert_eq!(
            json!([two, five, two - five]).to_string(),
            "[2.0,{\"at least\":5.0},{\"at most\":-3.0}]"
        );
    }
}
