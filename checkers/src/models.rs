//! Figures of checkers that say of each consistency model whether it holds: who reads them finds
//! them here.

use crate::figure::Gauge;

/// Names of models.
pub const HOLD: Gauge = Gauge::without_numbers("models that hold");
pub const REFUTED: Gauge = Gauge::without_numbers("models refuted");
pub const UNDECIDED: Gauge = Gauge::without_numbers("models undecided");

/// By the name of each refuted model: `ops`, which refute it, and `reason`.
pub const CORES: Gauge = Gauge::without_numbers("cores");

pub(crate) const GAUGES: &[Gauge] = &[HOLD, REFUTED, UNDECIDED, CORES];
