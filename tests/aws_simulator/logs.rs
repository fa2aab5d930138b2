//! CloudWatch Logs.

use aws_sdk_cloudwatchlogs::types::InputLogEvent;

use crate::aws::Aws;
use crate::clients::{code, logs, wait};

#[test]
fn lines_are_written_and_read_and_found() {
    let aws = Aws::start();
    let logs = logs(&aws);
    let missing = logs
        .create_log_stream()
        .log_group_name("g")
        .log_stream_name("s");
    assert_eq!(
        code(wait(missing.clone().send())),
        "ResourceNotFoundException"
    );
    wait(logs.create_log_group().log_group_name("g").send()).unwrap();
    wait(missing.send()).unwrap();
    let put = logs
        .put_log_events()
        .log_group_name("g")
        .log_stream_name("s");
    let event = |at, text: String| {
        InputLogEvent::builder()
            .timestamp(at)
            .message(text)
            .build()
            .unwrap()
    };
    let events = (0..5).map(|number| event(1000 + number, format!("line {number}")));
    wait(put.set_log_events(Some(events.collect())).send()).unwrap();

    let get = |token: Option<String>| {
        let get = logs
            .get_log_events()
            .log_group_name("g")
            .log_stream_name("s")
            .limit(3);
        let answer = wait(get.start_from_head(true).set_next_token(token).send()).unwrap();
        let lines = answer
            .events
            .unwrap()
            .into_iter()
            .filter_map(|event| event.message);
        (lines.collect::<Vec<_>>(), answer.next_forward_token)
    };
    let (first, token) = get(None);
    assert_eq!(first, ["line 0", "line 1", "line 2"]);
    let (rest, end) = get(token);
    assert_eq!(rest, ["line 3", "line 4"]);
    assert_eq!(
        get(end.clone()),
        (vec![], end),
        "the same token again: no more"
    );

    let found = logs
        .filter_log_events()
        .log_group_name("g")
        .filter_pattern("3")
        .start_time(1001);
    let found = wait(found.send()).unwrap();
    assert_eq!(found.events()[0].message(), Some("line 3"));
    assert_eq!(found.events().len(), 1);
    let streams = wait(logs.describe_log_streams().log_group_name("g").send()).unwrap();
    assert_eq!(streams.log_streams()[0].last_event_timestamp(), Some(1004));
}
