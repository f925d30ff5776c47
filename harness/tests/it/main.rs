//! Tests that need processes of their own.

mod lab;
mod talk;
