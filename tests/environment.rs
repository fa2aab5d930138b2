//! What a target's commands see: variables, directory, shell, values of `${…}`; and what nobody sees: secrets.

#[path = "support/run.rs"]
mod run;

use run::Workspace;

/// What `env` shows in a target without what a shell itself sets.
fn variables(workspace: &Workspace, env: &[(&str, &str)], target: &str) -> String {
    workspace.forge_with(env, &[target]).code(0);
    let text = workspace.read("seen");
    let shells = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !shells.iter().any(|name| line.starts_with(name)))
        .collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn a_target_sees_a_fixed_list_and_what_it_declares() {
    let workspace = Workspace::new("[target.env]\ncache = false\nrun = \"env > seen\"\n");
    let path = std::env::var("PATH").expect("a PATH");
    let caller = [
        ("USER", "ann"),
        ("SHELL", "/bin/zsh"),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C"),
        ("LC_TIME", "de_DE"),
        ("TERM", "dumb"),
        ("TMPDIR", "/var/tmp"),
        ("TZ", "Asia/Tokyo"),
        ("AWS_SECRET_ACCESS_KEY", "no"),
        ("LANGUAGE", "no"),
        ("PYTHONPATH", "no"),
    ];
    let expected = format!(
        "HOME={}\nLANG=C.UTF-8\nLC_ALL=C\nLC_TIME=de_DE\nPATH={path}\nSHELL=/bin/zsh\nTERM=dumb\nTMPDIR=/var/tmp\nTZ=UTC\nUSER=ann",
        workspace.home().display()
    );
    assert_eq!(variables(&workspace, &caller, "env"), expected);
    let bare = format!("HOME={}\nPATH={path}\nTZ=UTC", workspace.home().display());
    assert_eq!(variables(&workspace, &[], "env"), bare);
}

#[test]
fn the_time_zone_can_be_declared() {
    let workspace = Workspace::new(
        "[target.a]\ncache = false\nenv = { TZ = \"Asia/Tokyo\" }\nrun = \"env > seen\"\n[target.b]\ncache = false\ninherit-env = [\"TZ\"]\nrun = \"env > seen\"\n",
    );
    assert!(variables(&workspace, &[], "a").contains("TZ=Asia/Tokyo"));
    let caller = [("TZ", "Europe/Rome")];
    assert!(variables(&workspace, &caller, "b").contains("TZ=Europe/Rome"));
}

#[test]
fn nearer_layers_win() {
    let workspace = Workspace::new(
        r#"
[workspace]
members = ["m"]
[pipeline]
env = { A = "pipeline", B = "pipeline", C = "pipeline", D = "pipeline", E = "pipeline", F = "pipeline" }
[template.t.target.show]
env = { F = "template", G = "template" }
run = "echo $A $B $C $D $E $F $G > seen"
"#,
    );
    workspace.write(
        "m/Pipeline.toml",
        r#"
[project]
name = "m"
template = "t"
env = { B = "project", C = "project", D = "project", E = "project" }
[target.show]
inherit-env = ["C", "D", "E", "UNSET"]
dotenv = [".env", "no-such.env"]
env = { E = "env" }
"#,
    );
    workspace.write("m/.env", "D=dotenv\nE=dotenv\n");
    let caller = [("C", "caller"), ("D", "caller"), ("E", "caller")];
    workspace.forge_with(&caller, &["m:show"]).code(0);
    assert_eq!(
        workspace.read("m/seen"),
        "pipeline project caller dotenv env template template\n"
    );
}

#[test]
fn what_is_inherited_is_in_the_key_and_unset_is_not_empty() {
    let workspace = Workspace::new(
        "[target.a]\ninputs = []\ninherit-env = [\"ONE\", \"MANY_*\"]\nrun = \"env > seen\"\n",
    );
    let outcome = |env: &[(&str, &str)]| {
        let ran = workspace.forge_with(env, &["a", "--json"]);
        ran.code(0).end_of("a")["outcome"].clone()
    };
    assert_eq!(outcome(&[]), "ran");
    assert_eq!(outcome(&[("OTHER", "x")]), "fresh");
    assert_eq!(outcome(&[("ONE", "")]), "ran");
    assert_eq!(outcome(&[("ONE", "x")]), "ran");
    assert_eq!(outcome(&[("ONE", "x"), ("MANY_A", "1")]), "ran");
    assert!(workspace.read("seen").contains("MANY_A=1"));
    assert_eq!(outcome(&[("ONE", "x"), ("MANY_A", "2")]), "ran");
    assert_eq!(outcome(&[("ONE", "x"), ("MANY_A", "2")]), "fresh");
}

#[test]
fn dotenv_files_are_read_as_others_read_them() {
    let workspace = Workspace::new(
        "[target.show]\ndotenv = [\"a.env\"]\nrun = '''printf '[%s]' \"$A\" \"${B-}\" \"${C-}\" \"${D-}\" \"${E-}\" \"${F-}\" \"${G-}\" > seen'''\n",
    );
    workspace.write(
        "a.env",
        "# a comment\n\nA=plain # comment\nexport B='single $A #'\nC=\"dou\\\"ble\\nline\"\nD = spaces\nE=\nF=a=b#c\r\nG=\"${A}\"\nnonsense\n",
    );
    workspace.forge(&["show"]).code(0);
    assert_eq!(
        workspace.read("seen"),
        "[plain][single $A #][dou\"ble\nline][spaces][][a=b#c][${A}]"
    );
    workspace.write("a.env", "A=other\n");
    let ran = workspace.forge(&["show", "-v"]);
    ran.code(0).says("1 ran");
}

#[test]
fn the_shell_stops_at_errors_and_unset_variables() {
    let workspace = Workspace::new(
        r#"
[target.error]
run = '''
false
echo > after
'''
[target.unset]
run = "echo $NO_SUCH_VARIABLE > after"
[target.lines]
run = ["X=1", "echo ${X-none} > x; exit 4", "echo > after"]
[target.loose]
shell = ["sh", "-c"]
run = '''
false
echo $NO_SUCH_VARIABLE > loose
'''
"#,
    );
    workspace.forge(&["error"]).code(1);
    workspace.forge(&["unset"]).code(1).says("NO_SUCH_VARIABLE");
    workspace.forge(&["lines"]).code(1).says("exit code 4");
    assert_eq!(workspace.read("x"), "none\n", "lines share no shell");
    assert!(!workspace.has("after"));
    workspace.forge(&["loose"]).code(0);
    assert!(workspace.has("loose"));
}

#[test]
fn a_script_is_one_program_of_its_shell() {
    let workspace = Workspace::new(
        r#"
[target.py]
shell = ["python3", "-c"]
dir = "below"
run = '''
import os
def where():
    return os.path.basename(os.getcwd())
open("seen", "w").write(where() + " $HOME ${HOME} $${git.sha}")
'''
"#,
    );
    workspace.write("below/x", "");
    workspace.forge(&["py"]).code(0);
    assert_eq!(
        workspace.read("below/seen"),
        "below $HOME ${HOME} ${git.sha}"
    );
}

#[test]
fn values_come_from_everywhere() {
    let workspace = Workspace::new(
        r#"
[pipeline]
name = "app"
vars = { color = "red", size = "big" }
[target.show]
env = { SHA = "${git.sha}", SHORT = "${git.short-sha}" }
run = '''
echo "$SHA $SHORT ${git.branch} ${git.tag} ${git.dirty}" > seen
echo "${env.WHO} ${var.color} ${var.size} ${project.name} ${project.dir} ${workspace.dir}" >> seen
'''
"#,
    );
    workspace.write(".gitignore", "seen\n.forge\n");
    workspace.commit();
    workspace.git(&["tag", "v1.2"]);
    let sha = workspace.git(&["rev-parse", "HEAD"]);
    let root = workspace.path("").canonicalize().expect("a path");
    let root = root.display();
    workspace
        .forge_with(&[("WHO", "ann")], &["show", "--var", "size=small"])
        .code(0);
    assert_eq!(
        workspace.read("seen"),
        format!(
            "{sha} {} main v1.2 false\nann red small app {root} {root}\n",
            &sha[..7]
        )
    );
    workspace
        .forge(&["show"])
        .code(2)
        .says("${env.WHO} has no value")
        .says("Pipeline.toml");
}

#[test]
fn a_secret_is_nowhere_to_be_seen() {
    let secret = "s3cr3t-9f8e7d";
    let workspace = Workspace::new(
        r#"
[target.show]
secret-env = ["TOKEN"]
inherit-env = ["TOK*"]
run = [
  "echo whole $TOKEN, twice $TOKEN$TOKEN",
  "printf %s $TOKEN | cut -c1-6 | tr -d '\\n'; sleep 0.3; echo $TOKEN | cut -c7-",
  "env",
  "false",
]
[target.good]
secret-env = ["TOKEN"]
inputs = []
run = "echo with $TOKEN"
"#,
    );
    let env = [("TOKEN", secret)];
    let stored = || {
        let store = workspace.path(".forge");
        run::output("grep", &["-rlaF", secret, &store.to_string_lossy()])
    };
    for args in [
        vec!["show"],
        vec!["show", "-vv"],
        vec!["show", "--json", "-v"],
        vec!["show", "--output", "stream"],
        vec!["show", "-n"],
        vec!["good", "-v"],
    ] {
        let ran = workspace.forge_with(&env, &args);
        ran.says_not(secret);
        if args != ["show", "-n"] {
            ran.says("***").says_not("9f8e7d");
        }
    }
    assert_eq!(stored(), "", "the secret is in the store");
    // Typed as an argument it is at least not shown.
    workspace
        .forge_with(&env, &["show", "--", secret])
        .code(1)
        .says("$ false ***")
        .says_not(secret);
    // Another value is no other key, and the log that was kept is masked.
    let again = workspace.forge_with(&[("TOKEN", "another-one")], &["good", "-v"]);
    again.code(0).says("1 fresh").says("with ***");
}
