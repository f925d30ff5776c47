//! What is asked of a system, and the systems.
