//! What a file means, once it is a workspace.

mod meaning;
