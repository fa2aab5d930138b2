//! The screen: events in, text out.
