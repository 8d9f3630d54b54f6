//! What admins write in YAML: the text as a tree with places, and typed reading that goes on after a mistake.

#[cfg(test)]
pub mod asked;
pub mod reader;
pub mod tree;
