//! What ran, and the figures from it.
