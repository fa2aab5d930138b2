//! How a deployment goes, and which end of it is a success.

use crate::bed::Bed;

#[test]
fn a_deployment_pins_the_digest_and_is_one_call() {
    let bed = Bed::new("");
    let ran = bed.forge(&["deploy"]);
    ran.code(0);
    println!("{}\n----\n{}", ran.stdout, ran.stderr);
    assert_eq!(bed.pinned("app"), bed.image("one"));
    assert_eq!((bed.primary("app").as_str(), bed.updates()), ("app:2", 1));
    println!("{:?}", bed.aws.calls().iter().map(|c| format!("{}:{}", c.service, c.operation)).collect::<Vec<_>>());
}
