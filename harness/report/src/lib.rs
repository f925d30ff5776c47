//! A judged run to one HTML page.
