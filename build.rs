//! How an optimized forge is linked.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    // At a fixed address nothing has to be relocated when it starts: a forge that can lie anywhere has 60,000 pointers
    // to mend before its first line, which takes a quarter of what it takes to say that there is nothing to do.
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("PROFILE", "release")
    {
        println!("cargo:rustc-link-arg-bin=forge=-no-pie");
    }
}
