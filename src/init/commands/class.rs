//! The tables: which program, with which words, does what. Knows nothing of shell syntax.

use super::Class;

/// What a program does, given its words.
pub(super) fn class_of(program: &str, subcommand: &str, args: &[&str]) -> Class {
    let has = |flag: &str| args.contains(&flag);
    let only_checks = |is: bool, otherwise: Class| if is { Class::Checks } else { otherwise };
    match program {
        "echo" | "printf" | "cd" | "true" | ":" | "test" | "[" | "fi" | "done" | "exit" | "set"
        | "for" | "export" | "}" | "false" | "pwd" => Class::Quiet,
        "pytest" | "mypy" | "flake8" | "pylint" | "bandit" | "pyright" | "shellcheck"
        | "hadolint" | "yamllint" | "unittest" | "tox" | "nox" | "pydocstyle" | "vulture"
        | "jest" | "vitest" | "mocha" | "ava" | "stylelint" | "markdownlint" | "grep" | "diff"
        | "cmp" | "golangci-lint" | "staticcheck" | "actionlint" | "cppcheck"
        | "detect-secrets" => {
            if has("--watch") || has("--fix") {
                Class::Edits
            } else {
                Class::Checks
            }
        }
        "black" | "isort" => only_checks(has("--check") || has("--check-only"), Class::Edits),
        "prettier" => only_checks(has("--check") || has("-c"), Class::Edits),
        "gofmt" => only_checks(has("-l") && !has("-w"), Class::Edits),
        "clang-format" => only_checks(has("--dry-run"), Class::Edits),
        "ruff" if subcommand == "format" => only_checks(has("--check"), Class::Edits),
        "ruff" | "eslint" => only_checks(!has("--fix"), Class::Edits),
        "biome" => only_checks(!has("--write") && !has("--apply"), Class::Edits),
        "tsc" => only_checks(has("--noEmit"), Class::Makes),
        "autoflake" | "autopep8" | "pyupgrade" | "rustfmt" | "goimports" => Class::Edits,
        "cargo" => cargo(subcommand, args),
        "go" => go(subcommand),
        "npm" | "pnpm" | "yarn" | "bun" => node(subcommand, args),
        "safety" | "pip-audit" | "trivy" | "grype" | "gitleaks" | "trufflehog" | "semgrep"
        | "snyk" | "osv-scanner" => Class::Looks,
        "git" => git(subcommand),
        _ => acting(program, subcommand, args),
    }
}

fn cargo(subcommand: &str, args: &[&str]) -> Class {
    match subcommand {
        "test" | "check" | "nextest" => Class::Checks,
        "clippy" if !args.contains(&"--fix") => Class::Checks,
        "fmt" if args.contains(&"--check") => Class::Checks,
        "fmt" | "fix" | "clippy" => Class::Edits,
        "audit" | "deny" | "outdated" => Class::Looks,
        "run" | "watch" => Class::Serves,
        "publish" | "install" | "login" | "yank" | "clean" => Class::Acts,
        _ => Class::Makes,
    }
}

fn go(subcommand: &str) -> Class {
    match subcommand {
        "test" | "vet" => Class::Checks,
        "fmt" | "fix" => Class::Edits,
        "run" => Class::Serves,
        "install" | "get" | "mod" => Class::Acts,
        _ => Class::Makes,
    }
}

fn node(subcommand: &str, args: &[&str]) -> Class {
    let script = match subcommand {
        "run" => args.iter().filter(|a| !a.starts_with('-')).nth(1),
        _ => args.iter().find(|a| !a.starts_with('-')),
    };
    match script.copied().unwrap_or("install") {
        "audit" | "outdated" => Class::Looks,
        "start" | "dev" | "serve" | "watch" | "storybook" | "preview" => Class::Serves,
        "install" | "i" | "ci" | "add" | "remove" | "update" | "upgrade" | "publish" | "link"
        | "deploy" | "release" | "login" | "version" => Class::Acts,
        // A script of the project's: what it does is not in these words.
        _ => Class::Makes,
    }
}

fn git(subcommand: &str) -> Class {
    match subcommand {
        "diff" | "status" | "log" | "rev-parse" | "describe" | "ls-files" | "show" | "branch"
        | "grep" => Class::Looks,
        _ => Class::Acts,
    }
}

/// Programs that reach beyond the project, and those that go on.
fn acting(program: &str, subcommand: &str, args: &[&str]) -> Class {
    let has = |flag: &str| args.contains(&flag);
    let compose = (program == "docker" || program == "podman") && subcommand == "compose";
    let up = has("up") && (compose || program.ends_with("-compose"));
    match program {
        _ if asks(program, subcommand, args) => Class::Asks,
        "docker" | "podman" | "kubectl" if (up && !has("-d")) || has("logs") => Class::Serves,
        "docker-compose" | "podman-compose" if (up && !has("-d") && !has("--detach")) => {
            Class::Serves
        }
        "uvicorn" | "gunicorn" | "hypercorn" | "daphne" | "nodemon" | "celery" | "jupyter"
        | "http.server" | "webpack-dev-server" | "air" | "tail" | "streamlit" => Class::Serves,
        "flask" if has("run") => Class::Serves,
        "next" | "vite" | "webpack" | "astro" | "nuxt"
            if has("dev") || has("serve") || has("start") || has("preview") =>
        {
            Class::Serves
        }
        "vite" if subcommand.is_empty() => Class::Serves,
        "python" | "python3" | "manage.py" | "django-admin" => python(args),
        "aws" | "kubectl" | "helm" | "terraform" | "tofu" | "pulumi" | "ansible"
        | "ansible-playbook" | "ssh" | "scp" | "sftp" | "rsync" | "gcloud" | "gsutil" | "az"
        | "heroku" | "flyctl" | "fly" | "serverless" | "sls" | "cdk" | "sam" | "eb" | "twine"
        | "docker" | "docker-compose" | "podman" | "podman-compose" | "buildah" | "skopeo"
        | "crane" | "curl" | "wget" | "systemctl" | "service" | "gh" | "alembic" | "flask"
        | "psql" | "pg_dump" | "pg_restore" | "createdb" | "dropdb" | "mysql" | "redis-cli"
        | "pip" | "pip3" | "poetry" | "pipenv" | "uv" | "pdm" | "conda" | "gem" | "bundle"
        | "brew" | "apt" | "apt-get" | "apk" | "yum" | "dnf" | "pre-commit" | "kill" | "pkill"
        | "killall" | "open" | "xdg-open" | "ecspresso" | "ecs-deploy" | "copilot" | "kamal"
        | "vault" | "sops" | "install" | "crontab" | "mail" | "sendmail" | "mount" | "netlify"
        | "vercel" | "firebase" | "wrangler" | "goreleaser" | "sh" | "bash" | "eval" | "source"
        | "." => Class::Acts,
        _ => Class::Makes,
    }
}

/// Programs that are a conversation, given these words.
fn asks(program: &str, subcommand: &str, args: &[&str]) -> bool {
    let has = |flag: &str| args.contains(&flag);
    let none_of = |flags: &[&str]| {
        !args
            .iter()
            .any(|arg| flags.iter().any(|f| arg.starts_with(f)))
    };
    let terminal = has("-it")
        || has("-ti")
        || (has("-i") && has("-t"))
        || (has("--interactive") && has("--tty"));
    match program {
        "docker" | "podman" | "kubectl" | "docker-compose" => terminal,
        "read" | "select" | "ipython" | "bpython" | "pgcli" | "mycli" | "irb" | "gdb" | "pdb"
        | "less" | "more" | "vim" | "vi" | "nano" | "emacs" | "htop" | "top" | "fzf" | "gum"
        | "dialog" | "whiptail" => true,
        "bash" | "sh" | "zsh" | "fish" => args.iter().all(|a| ["-i", "-l", "--login"].contains(a)),
        "python" | "python3" | "manage.py" | "django-admin" => {
            let words = ["shell", "shell_plus", "dbshell", "changepassword"];
            let made = has("createsuperuser") && none_of(&["--no-input", "--noinput"]);
            made || (args.is_empty() && program.starts_with("python")) || words.into_iter().any(has)
        }
        "node" | "redis-cli" | "mongosh" => args.is_empty(),
        "psql" => none_of(&[
            "-c",
            "-f",
            "-l",
            "--command",
            "--file",
            "--list",
            "--version",
        ]),
        "mysql" => none_of(&["-e", "--execute", "--version"]),
        "flask" => has("shell"),
        "rails" => ["console", "c", "dbconsole"].contains(&subcommand),
        "aws" => subcommand == "configure" && args.last() == Some(&"configure"),
        _ => false,
    }
}

fn python(args: &[&str]) -> Class {
    let has = |word: &str| args.contains(&word);
    match () {
        _ if has("runserver") => Class::Serves,
        _ if has("migrate") || has("createsuperuser") || has("loaddata") || has("flush") => {
            Class::Acts
        }
        _ => Class::Makes,
    }
}
