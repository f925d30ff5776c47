//! Tests that need processes of their own.

mod doctor;
mod lab;
mod stops;
mod talk;
