//! An environment with its texts rendered: what a deployment is told, as plain values.
//!
//! Knows nothing of where the values come from, nor of any cloud.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pipeline::interpolate::{Lookup, Piece, Unresolved, scan};
use crate::pipeline::model::{
    Environment, FreezeWindow, OnFailure, Provider, Reference, Smoke, Text,
};

/// `[environment.NAME]`, nothing left to look up.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub region: Option<String>,
    /// Twelve digits; a caller in another account is refused.
    pub account: Option<String>,
    pub profile: Option<String>,
    pub assume_role: Option<String>,
    /// Only ECS has one.
    pub cluster: Option<String>,
    pub services: Vec<String>,
    pub container: Option<String>,
    pub overlay: Overlay,
    pub desired_count: Option<u32>,
    pub url: Option<String>,
    /// Globs; empty: any branch.
    pub branch: Vec<String>,
    pub approval: bool,
    pub freeze: Vec<FreezeWindow>,
    /// IANA name; UTC where it is left out.
    pub timezone: Option<String>,
    /// Shell lines.
    pub before: Vec<String>,
    pub smoke: Vec<Check>,
    pub on_failure: OnFailure,
    pub timeout: Duration,
}

/// What an environment lays over a task definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    pub env: BTreeMap<String, String>,
    /// Name → ARN of where the value is kept.
    pub secrets: BTreeMap<String, String>,
    /// CPU units, 1024 to a core.
    pub cpu: Option<u32>,
    /// MiB.
    pub memory: Option<u32>,
}

/// A smoke check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    Http {
        url: String,
        status: u16,
        within: Duration,
    },
    Run(String),
}

impl Spec {
    /// Renders every text; `${environment.KEY}` is answered by the environment itself, all else by `lookup`.
    ///
    /// # Errors
    /// A reference that has no value now.
    pub fn render(environment: &Environment, lookup: &dyn Lookup) -> Result<Spec, Unresolved> {
        let within = Within {
            environment,
            lookup,
        };
        let text = |text: &Text| text.render(&within);
        let optional = |one: &Option<Text>| one.as_ref().map(text).transpose();
        let list = |texts: &[Text]| texts.iter().map(text).collect::<Result<Vec<_>, _>>();
        let map = |texts: &BTreeMap<String, Text>| {
            let pairs = texts.iter();
            pairs
                .map(|(name, one)| Ok((name.clone(), text(one)?)))
                .collect::<Result<BTreeMap<_, _>, Unresolved>>()
        };
        let smoke = environment.smoke.iter().map(|check| within.check(check));
        Ok(Spec {
            name: environment.name.clone(),
            region: optional(&environment.region)?,
            account: optional(&environment.account)?,
            profile: optional(&environment.profile)?,
            assume_role: optional(&environment.assume_role)?,
            cluster: optional(&environment.cluster)?,
            services: list(&environment.services)?,
            container: optional(&environment.container)?,
            overlay: Overlay {
                env: map(&environment.env)?,
                secrets: map(&environment.secrets)?,
                cpu: environment.cpu,
                memory: environment.memory,
            },
            desired_count: environment.desired_count,
            url: optional(&environment.url)?,
            branch: environment.branch.clone(),
            approval: environment.approval,
            freeze: environment.freeze.clone(),
            timezone: environment.timezone.clone(),
            before: list(&environment.before)?,
            smoke: smoke.collect::<Result<Vec<_>, _>>()?,
            on_failure: environment.on_failure,
            timeout: environment.timeout,
        })
    }
}

/// What `${…}` means in a text that belongs to an environment.
pub struct Within<'a> {
    pub environment: &'a Environment,
    pub lookup: &'a dyn Lookup,
}

impl Within<'_> {
    fn check(&self, check: &Smoke) -> Result<Check, Unresolved> {
        Ok(match check {
            Smoke::Http {
                url,
                status,
                within,
            } => Check::Http {
                url: url.render(self)?,
                status: *status,
                within: *within,
            },
            Smoke::Run(line) => Check::Run(line.render(self)?),
        })
    }

    /// A string from outside the pipeline file, such as one of a task definition's, with its
    /// references put in. `vars` are the project's.
    ///
    /// # Errors
    /// One line that names the reference: it has no value, or means nothing here.
    pub fn fill(&self, raw: &str, vars: &BTreeMap<String, String>) -> Result<String, String> {
        let mut out = String::with_capacity(raw.len());
        for (piece, range) in scan(raw) {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Unclosed => return Err(format!("`{}` has no `}}`", &raw[range])),
                Piece::Foreign(name) => {
                    return Err(format!("`{}` is written ${{{name}}}", &raw[range]));
                }
                Piece::Reference(name) => out.push_str(&self.named(name, vars)?),
            }
        }
        Ok(out)
    }

    fn named(&self, name: &str, vars: &BTreeMap<String, String>) -> Result<String, String> {
        let unknown = || format!("${{{name}}} means nothing in a task definition");
        let reference = match name.split_once('.').unwrap_or((name, "")) {
            ("git", "sha") => Reference::GitSha,
            ("git", "short-sha") => Reference::GitShortSha,
            ("git", "branch") => Reference::GitBranch,
            ("git", "tag") => Reference::GitTag,
            ("git", "dirty") => Reference::GitDirty,
            ("project", "name") => Reference::ProjectName,
            ("env", variable) => Reference::Env(variable.to_owned()),
            ("environment", key) => Reference::Environment(key.to_owned()),
            ("var", variable) => return vars.get(variable).cloned().ok_or_else(unknown),
            _ => return Err(unknown()),
        };
        self.get(&reference).map_err(|error| error.to_string())
    }
}

impl Lookup for Within<'_> {
    fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
        let Reference::Environment(key) = reference else {
            return self.lookup.get(reference);
        };
        let environment = self.environment;
        // Loading has refused texts that refer to each other in a circle.
        let text = match key.as_str() {
            "name" => return Ok(environment.name.clone()),
            "provider" => {
                return Ok(match environment.provider {
                    Provider::Ecs => "ecs".into(),
                    Provider::Docker => "docker".into(),
                });
            }
            "region" => &environment.region,
            "account" => &environment.account,
            "profile" => &environment.profile,
            "cluster" => &environment.cluster,
            "service" => &environment.services.first().cloned(),
            "container" => &environment.container,
            "url" => &environment.url,
            _ => &None,
        };
        match text {
            Some(text) => text.render(self),
            None => Err(Unresolved::new(
                reference,
                format!(
                    "the environment `{}` doesn't say its `{key}`",
                    environment.name
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::model::{FileId, Part, ProjectId, Span};

    struct Caller;

    impl Lookup for Caller {
        fn get(&self, reference: &Reference) -> Result<String, Unresolved> {
            match reference {
                Reference::Env(name) if name == "HOST" => Ok("example.com".into()),
                Reference::GitSha => Ok("c0ffee".into()),
                other => Err(Unresolved::new(other, "the variable is not set")),
            }
        }
    }

    fn span() -> Span {
        Span {
            file: FileId(0),
            range: 0..0,
        }
    }

    fn text(parts: Vec<Part>) -> Text {
        Text {
            raw: String::new(),
            span: span(),
            parts,
        }
    }

    fn reference(reference: Reference) -> Part {
        Part::Reference(reference)
    }

    fn literal(text: &str) -> Part {
        Part::Literal(text.into())
    }

    fn environment() -> Environment {
        Environment {
            name: "prod".into(),
            project: ProjectId(0),
            span: span(),
            provider: Provider::Ecs,
            region: None,
            account: None,
            profile: None,
            assume_role: None,
            cluster: Some(text(vec![
                reference(Reference::Environment("name".into())),
                literal("-cluster"),
            ])),
            services: vec![text(vec![literal("app")])],
            container: None,
            task_definition: None,
            env: BTreeMap::from([(
                "COMMIT".to_owned(),
                text(vec![reference(Reference::GitSha)]),
            )]),
            secrets: BTreeMap::new(),
            cpu: None,
            memory: Some(512),
            desired_count: None,
            url: Some(text(vec![
                literal("https://"),
                reference(Reference::Env("HOST".into())),
            ])),
            branch: Vec::new(),
            approval: false,
            freeze: Vec::new(),
            timezone: None,
            before: Vec::new(),
            smoke: vec![Smoke::Http {
                url: text(vec![
                    reference(Reference::Environment("url".into())),
                    literal("/health"),
                ]),
                status: 204,
                within: Duration::from_secs(9),
            }],
            on_failure: OnFailure::Stop,
            timeout: Duration::from_secs(60),
            notify: Vec::new(),
        }
    }

    #[test]
    fn every_text_gets_its_values() {
        let spec = Spec::render(&environment(), &Caller).unwrap();
        assert_eq!(spec.cluster.as_deref(), Some("prod-cluster"));
        assert_eq!(spec.services, ["app"]);
        assert_eq!(spec.overlay.env["COMMIT"], "c0ffee");
        assert_eq!(spec.overlay.memory, Some(512));
        assert_eq!(spec.url.as_deref(), Some("https://example.com"));
        assert_eq!(
            spec.smoke,
            [Check::Http {
                url: "https://example.com/health".into(),
                status: 204,
                within: Duration::from_secs(9),
            }]
        );
    }

    #[test]
    fn what_has_no_value_is_named() {
        let mut broken = environment();
        broken.container = Some(text(vec![reference(Reference::Env("NO".into()))]));
        let error = Spec::render(&broken, &Caller).unwrap_err();
        assert_eq!(error.reference, "${env.NO}");

        broken.container = Some(text(vec![reference(Reference::Environment(
            "region".into(),
        ))]));
        let error = Spec::render(&broken, &Caller).unwrap_err();
        assert_eq!(
            error.to_string(),
            "${environment.region} has no value: the environment `prod` doesn't say its `region`"
        );
    }

    #[test]
    fn a_string_of_a_task_definition_is_filled() {
        let environment = environment();
        let within = Within {
            environment: &environment,
            lookup: &Caller,
        };
        let vars = BTreeMap::from([("port".to_owned(), "8000".to_owned())]);
        let fill = |raw: &str| within.fill(raw, &vars);
        assert_eq!(
            fill("${environment.name}:${var.port}:${git.sha}:${HOME}:$${git.sha}").unwrap(),
            "prod:8000:c0ffee:${HOME}:${git.sha}"
        );
        for (raw, said) in [
            ("${var.prot}", "${var.prot} means nothing"),
            ("${service.db.port}", "means nothing"),
            ("${env.NO}", "not set"),
            ("a ${env.X", "has no `}`"),
        ] {
            let error = fill(raw).unwrap_err();
            assert!(error.contains(said), "{raw}: {error}");
        }
    }
}
