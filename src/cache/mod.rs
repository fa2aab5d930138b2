//! What a target is made of, and where its results are kept.
