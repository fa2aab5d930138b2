//! Targets and what they need: selection, cycles, affected projects. Pure.
