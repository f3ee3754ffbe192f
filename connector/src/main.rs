//! concordat
fn main() {}
