//! Who asks, and what is never told.

use crate::shelf::{Odd, Shelf};
use crate::support::{Bed, files_with};
use crate::{BOTH, PIPELINE, machine};

/// `me:p@ss/word`.
const BASIC: &str = "Basic bWU6cEBzcy93b3Jk";

fn with_user(shelf: &Shelf) -> String {
    format!("http://me:p%40ss%2Fword@{}", shelf.host())
}

/// Lets those in who say this.
fn only(shelf: &Shelf, authorization: &'static str) {
    shelf.behave(move |asked| {
        let is_known = asked.authorization.as_deref() == Some(authorization);
        (!is_known).then_some(Odd::Status(401))
    });
}

#[test]
fn a_user_in_the_address_or_a_token() {
    let shelf = Shelf::start();
    only(&shelf, BASIC);
    machine(&with_user(&shelf))
        .expect(&["test"], BOTH)
        .not_warned();
    let mut second = machine(&with_user(&shelf));
    second.set("FORGE_REMOTE_TOKEN", "not this one");
    second.expect(&["test"], &[]).not_warned();
    only(&shelf, "Bearer t0k3n");
    let mut third = machine(&shelf.url());
    third.set("FORGE_REMOTE_TOKEN", "t0k3n");
    third.expect(&["test"], &[]).not_warned();
    let stranger = machine(&shelf.url());
    let done = stranger.expect(&["test"], BOTH);
    done.warned("it doesn't let this caller in (401)");
}

/// Not on the screen, not in an event, not on the disk, not on the remote.
#[test]
fn nobody_sees_who_asks() {
    let shelf = Shelf::start();
    let secrets = ["p%40ss", "p@ss", "bWU6cEBz", "t0k3n", "sesame"];
    let bed = |url: &str| {
        let mut bed = machine(url);
        bed.set("FORGE_REMOTE_TOKEN", "t0k3n");
        bed.set("FORGE_REMOTE_SECRET", "open sesame");
        bed
    };
    let look = |bed: &Bed, args: &[&str]| {
        let said = bed.plain(args);
        for secret in secrets {
            assert!(!format!("{said:?}").contains(secret), "{secret}: {said:?}");
            let kept = files_with(&bed.path(".forge"), secret);
            assert!(kept.is_empty(), "{secret}: {kept:?}");
        }
        said
    };
    for mood in [None, Some(401), Some(500), Some(413)] {
        match mood {
            Some(status) => shelf.behave(move |_| Some(Odd::Status(status))),
            None => shelf.behave_well(),
        }
        for url in [with_user(&shelf), shelf.url()] {
            let bed = bed(&url);
            for args in [
                &["test", "-vv", "--force"][..],
                &["test", "--json", "-vv"],
                &["doctor"],
                &["list"],
                &["history"],
            ] {
                look(&bed, args);
            }
        }
    }
    let down = bed("http://me:p%40ss@127.0.0.1:1/");
    assert!(
        look(&down, &["test"])
            .stdout
            .contains("127.0.0.1:1 isn't used")
    );
    for secret in secrets {
        for (path, bytes) in shelf.kept("") {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(secret), "{secret} in {path}");
        }
    }
}

/// Who asks is known to whom was asked, not to whomever that sends them to.
#[test]
fn a_redirect_takes_no_credentials_along() {
    let (near, far) = (Shelf::start(), Shelf::start());
    machine(&far.url()).expect(&["test"], BOTH);
    far.asked();
    let there = far.url();
    near.behave(move |_| Some(Odd::Elsewhere(there.clone())));
    let second = machine(&with_user(&near));
    second.expect(&["test"], &[]).not_warned();
    assert!(
        near.asked()
            .iter()
            .all(|asked| asked.authorization.is_some())
    );
    let asked = far.asked();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|asked| asked.authorization.is_none()),
        "{asked:?}"
    );
    // What is sent isn't sent on.
    second.write("in.txt", "other letters\n");
    let done = second.expect(&["test"], BOTH);
    done.warned("it takes nothing (307)");
    assert!(far.asked().iter().all(|asked| asked.method != "PUT"));
}

/// Where the remote is, is no part of a key.
#[test]
fn the_address_is_in_no_key() {
    let (one, other) = (Shelf::start(), Shelf::start());
    let first = machine(&one.url());
    let key = first.expect(&["test"], BOTH).key("build");
    let second = machine(&with_user(&other));
    assert_eq!(second.expect(&["test"], BOTH).key("build"), key);
    let text = PIPELINE.replace("[cache]", "[cache]\nmax-size = \"1GB\"");
    first.write("Pipeline.toml", text);
    first.expect(&["test"], &[]);
}
