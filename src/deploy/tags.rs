//! The tags of a task definition revision: what says, later and anywhere, which commit a revision is,
//! whose deployment and why. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The commit that the image was built from.
pub const COMMIT: &str = "forge:commit";
/// Who deployed.
pub const BY: &str = "forge:by";
/// When it was registered, for people: nothing is chosen by it.
pub const AT: &str = "forge:at";
/// The key of the deploy target.
pub const KEY: &str = "forge:key";
/// Link to the run that deployed.
pub const RUN: &str = "forge:run";
/// Why it went out in spite of a freeze.
pub const HOTFIX: &str = "forge:hotfix";
/// `family:revision` whose pinned copy this is; see [`super::choice`].
pub const COPY_OF: &str = "forge:copy-of";
/// The container that got the image.
pub const CONTAINER: &str = "forge:container";
/// The services in which a deployment of it completed and was checked, as `cluster/service`, with blanks between them: a
/// family may be that of several environments, and what was good in one says nothing of another.
pub const COMPLETED: &str = "forge:completed";

/// What a deployment says of itself.
pub const OURS: [&str; 7] = [COMMIT, BY, AT, KEY, RUN, HOTFIX, CONTAINER];

/// What ECS takes for a value, in characters.
const MAX_VALUE: usize = 256;

/// Tags by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// From `[{"key", "value"}]`. Those that AWS sets itself aren't ours to write.
    pub fn read(list: Option<&Value>) -> Tags {
        let list = list.and_then(Value::as_array).into_iter().flatten();
        let pairs = list.filter_map(|tag| {
            let key = tag.get("key")?.as_str()?;
            let value = tag.get("value").and_then(Value::as_str).unwrap_or_default();
            (!key.starts_with("aws:")).then(|| (key.to_owned(), value.to_owned()))
        });
        Tags(pairs.collect())
    }

    pub fn write(&self) -> Value {
        let list = self.0.iter();
        list.map(|(key, value)| json!({ "key": key, "value": value }))
            .collect()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets one; what ECS doesn't take in a value becomes `_`, and what is too long is cut.
    pub fn set(&mut self, key: &str, value: &str) {
        let allowed = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
        let value = value.chars().take(MAX_VALUE);
        let value = value.map(|c| if allowed(c) { c } else { '_' });
        self.0.insert(key.to_owned(), value.collect());
    }

    pub fn unset(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Takes out what an earlier deployment said of itself.
    pub fn forget_ours(&mut self) {
        self.0.retain(|key, _| !key.starts_with("forge:"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_a_round_and_fit() {
        let list = json!([
            { "key": "team", "value": "a" }, { "key": "aws:x", "value": "b" },
            { "key": "forge:commit", "value": "c" }, { "key": "empty" }
        ]);
        let mut tags = Tags::read(Some(&list));
        assert_eq!(tags.get("aws:x"), None);
        assert_eq!(tags.get("empty"), Some(""));
        assert_eq!(Tags::read(Some(&tags.write())), tags);
        tags.forget_ours();
        assert_eq!((tags.get(COMMIT), tags.get("team")), (None, Some("a")));
        tags.set(BY, "Zoë <zoe@example.com>");
        assert_eq!(tags.get(BY), Some("Zoë _zoe@example.com_"));
        tags.set(HOTFIX, &"é".repeat(300));
        assert_eq!(tags.get(HOTFIX).unwrap().chars().count(), 256);
    }
}
