//! Processes and services.
