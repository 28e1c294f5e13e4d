//! The `roadcast` program.

fn main() {}
