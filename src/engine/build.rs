//! How the engine builds an image: its bases, its context, the steps as they go by, and what is said of one that failed.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::docker::{BuildError, BuildSpec, Credentials, Engine, Progress, Pull, StepState};
use crate::image::context::{Context, ContextError, Entry, Kind};
use crate::image::registry::Reference;
use crate::pipeline::interpolate::Unresolved;
use crate::pipeline::paths::is_within;

use super::base;
use super::event::Event;
use super::image::{Recipe, within};
use super::job::Job;
use super::log::Log;
use super::look::Fault;
use super::provide::Order;

/// What a step prints is shown no more often than this.
const PAUSE: Duration = Duration::from_millis(200);

impl Job<'_> {
    /// Sees to it that the engine has the image under this name; whether it had to be built.
    pub(super) fn in_engine(
        &self,
        order: &Order,
        engine: &Engine,
        full: &str,
        platform: Option<&str>,
        attempt: u32,
        log: &mut Log,
    ) -> Result<bool, Fault> {
        if order.may_find && engine.image(full)?.is_some() {
            return Ok(false);
        }
        self.tell(Event::TargetStarted {
            target: Arc::clone(&self.target.address),
            attempt,
            commands: Arc::new([format!("build {full}")]),
            reason: order.look.reason.clone(),
            interactive: false,
        });
        self.provide_bases(order, engine, platform)?;
        self.build(order, engine, full, platform, log)?;
        Ok(true)
    }

    /// Pulls base images that the engine has not, or not as the key says.
    fn provide_bases(
        &self,
        order: &Order,
        engine: &Engine,
        platform: Option<&str>,
    ) -> Result<(), Fault> {
        for reference in self.session.recipe(self.target, order.image)?.bases {
            let wanted = self.session.base(&reference)?;
            let has_it = || -> Result<bool, Fault> {
                let image = engine.image(&reference)?;
                Ok(image.is_some_and(|image| base::is(&image.id, &image.repo_digests, &wanted)))
            };
            if has_it()? {
                continue;
            }
            self.doing(&format!("pulling {reference}"));
            let login = self.session.login_for(&reference)?;
            let say = |line: String| self.doing(&format!("pulling {reference}: {line}"));
            let cancelled = || self.is_over(order);
            let pull = Pull {
                reference: &reference,
                platform,
                credentials: login.as_ref(),
            };
            engine.pull(pull, say, &cancelled)?;
            if !has_it()? {
                return Err(Fault {
                    message: format!("{reference} became another image while it was pulled"),
                    help: Some("run it again".into()),
                    exit_with: 1,
                });
            }
        }
        Ok(())
    }

    fn build(
        &self,
        order: &Order,
        engine: &Engine,
        full: &str,
        platform: Option<&str>,
        log: &mut Log,
    ) -> Result<(), Fault> {
        let (session, image) = (self.session, order.image);
        let recipe = session.recipe(self.target, image)?;
        let values = session.plain(self.target);
        let labels = image.labels.iter();
        let labels = labels.map(|(name, text)| Ok((name.clone(), text.render(&values)?)));
        let cache_from = image.cache_from.iter().map(|text| text.render(&values));
        let spec = BuildSpec {
            build_args: session.build_args(self.target, image)?,
            target: image.build_target.clone(),
            platform: platform.map(str::to_owned),
            labels: labels.collect::<Result<_, Unresolved>>()?,
            cache_from: cache_from.collect::<Result<_, _>>()?,
            secrets: order.secrets.clone(),
            no_cache: session.options.force,
            credentials: self.logins_for(&recipe.bases)?,
            ..BuildSpec::new(engine.builder(|name| std::env::var_os(name))?)
        };
        let context = self.build_context(order)?;
        let mut steps = Steps::default();
        let mut watch = |progress: Progress| self.show(order, &progress, &mut steps, log);
        let built = engine.build(&spec, &context, &mut watch, &|| self.is_over(order));
        let id = built.map_err(|error| {
            if !error.is_cancelled() {
                self.remember_failure(&order.look.key);
            }
            self.build_failed(order, &recipe, error, log)
        })?;
        // What was sent must be what the key was made of: else the tag would lie.
        if let Some((what, help)) = self.moved(order.look)? {
            let again = "nothing was pushed or tagged; run it again".to_owned();
            return Err(Fault {
                message: what,
                help: Some(help.map_or(again.clone(), |help| format!("{again}; {help}"))),
                exit_with: 1,
            });
        }
        let (name, tag) = full.rsplit_once(':').unwrap_or((full, "latest"));
        Ok(engine.tag(&id, name, tag)?)
    }

    /// Who to be where the base images are.
    fn logins_for(&self, bases: &[String]) -> Result<HashMap<String, Credentials>, Fault> {
        let mut logins = HashMap::new();
        for base in bases {
            let host = base.parse::<Reference>()?.host;
            if let Some(login) = self.session.login_at(&host)? {
                logins.insert(host, login);
            }
        }
        Ok(logins)
    }

    /// A step, or a line of one: on the screen, and in the log.
    fn show(&self, order: &Order, progress: &Progress, steps: &mut Steps, log: &mut Log) {
        let line = match progress {
            Progress::Log { step, line } => {
                if let Some(text) = steps.says(*step, line) {
                    self.doing(&self.words.mask.text(&order.mask.text(&text)));
                }
                line.clone()
            }
            Progress::Step {
                number,
                total,
                name,
                state,
            } => {
                let total = total.map(|total| format!("/{total}")).unwrap_or_default();
                let step = format!("step {number}{total}: {name}");
                match state {
                    StepState::Started => {
                        steps.begins(*number, name);
                        self.doing(&order.mask.text(name));
                        step
                    }
                    StepState::Cached => format!("{step} (cached)"),
                    StepState::Done { .. } | StepState::Failed => return,
                }
            }
        };
        let line = self.words.mask.text(&order.mask.text(&line));
        let bytes = format!("{line}\n").into_bytes();
        log.push(&bytes);
        self.tell(Event::Output {
            target: Arc::clone(&self.target.address),
            bytes: bytes.into(),
        });
    }

    /// What is said of a build that failed: the line of the Dockerfile where it did, with its neighbours.
    fn build_failed(
        &self,
        order: &Order,
        recipe: &Recipe,
        error: BuildError,
        log: &mut Log,
    ) -> Fault {
        let file = &order.image.dockerfile;
        if let Some(line) = error.line {
            log.push(excerpt(file, &recipe.text, line).as_bytes());
        }
        let place = error.line.map(|line| format!("{file}:{line}: "));
        Fault {
            message: order
                .mask
                .text(&format!("{}{}", place.unwrap_or_default(), error.message)),
            help: error.help,
            exit_with: 1,
        }
    }

    /// The inputs as the engine gets them.
    fn build_context(&self, order: &Order) -> Result<Context, ContextError> {
        let (root, image) = (&self.session.ws.root, order.image);
        let inputs = &order.look.inputs;
        let inside = |path: &str| is_within(path, &image.context) && path != image.context;
        // By another name there is only the Dockerfile, where that is a link.
        let named = inputs.files.iter().filter(|file| file.alias.is_none());
        let files = named.filter(|file| inside(&file.path));
        let files = files.map(|file| Entry {
            path: within(&file.path, &image.context).to_owned(),
            source: root.join(&file.path),
            kind: Kind::File {
                executable: file.stat.executable(),
            },
        });
        let links = inputs.links.iter().filter(|(path, ..)| inside(path));
        let links = links.map(|(path, to, _)| Entry {
            path: within(path, &image.context).to_owned(),
            source: root.join(path),
            kind: Kind::Link { target: to.clone() },
        });
        let mut dockerfile = root.join(&image.dockerfile);
        if dockerfile.is_symlink() {
            dockerfile = fs::canonicalize(&dockerfile).unwrap_or(dockerfile);
        }
        Context::new(files.chain(links).collect(), &dockerfile)
    }
}

/// The steps that have begun, for a line that says which one does what.
#[derive(Default)]
struct Steps {
    /// `[deps 2/5]`, by number; empty where the builder names none.
    places: HashMap<usize, String>,
    told: Option<Instant>,
}

impl Steps {
    fn begins(&mut self, number: usize, name: &str) {
        let place = name.split_inclusive(']').next();
        let place = place.filter(|place| place.starts_with('[') && place.ends_with(']'));
        self.places
            .insert(number, place.unwrap_or_default().to_owned());
        self.told = None;
    }

    /// What a step prints now; not of every line where they come fast.
    fn says(&mut self, step: usize, line: &str) -> Option<String> {
        let fast = self.told.is_some_and(|told| told.elapsed() < PAUSE);
        if fast || line.trim().is_empty() {
            return None;
        }
        self.told = Some(Instant::now());
        let place = self.places.get(&step).map_or("", String::as_str);
        Some(format!("{place} {}", line.trim()).trim().to_owned())
    }
}

/// A line of a file, marked, with what stands around it.
fn excerpt(file: &str, text: &str, line: usize) -> String {
    let first = line.saturating_sub(2).max(1);
    let mut out = format!("{file}:{line}\n");
    for (number, text) in text
        .lines()
        .enumerate()
        .skip(first - 1)
        .take(line + 2 - first)
    {
        let mark = if number + 1 == line { '>' } else { ' ' };
        out += &format!("{mark} {:>4} | {text}\n", number + 1);
    }
    out
}
