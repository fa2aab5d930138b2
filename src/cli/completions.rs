//! `forge completions`: a script for a shell. It asks forge itself ([`super::complete`]) what could come next, so it
//! never has to be made again.

use super::args::Shell;

/// The script, to be sourced.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
    }
}

// `:` and `=` begin a new word for bash, so what stands before the last of them must not be given back.
const BASH: &str = r#"# bash completion for forge: source <(forge completions bash)
_forge() {
    local line=${COMP_LINE:0:COMP_POINT} words cur prefix candidate
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[${#words[@]}-1]}
    prefix=
    [[ $cur == *[:=]* ]] && prefix=${cur%"${cur##*[:=]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        if [[ $candidate == :files ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r candidate; do
                COMPREPLY+=("$candidate")
            done < <(compgen -f -- "${cur#"$prefix"}")
            return
        fi
        COMPREPLY+=("${candidate#"$prefix"}")
    done < <("${1/#\~/$HOME}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _forge forge
"#;

const ZSH: &str = r#"#compdef forge
# zsh completion for forge: source <(forge completions zsh), or save it as _forge in a directory of $fpath
_forge() {
    local line
    local -a values shown
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        values+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  }")
    done < <("${words[1]/#\~/$HOME}" __complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
    (( $#values )) && compadd -l -d shown -a values
}
if [[ $funcstack[1] == _forge ]]; then
    _forge "$@"
elif (( $+functions[compdef] )); then
    compdef _forge forge
fi
"#;

const FISH: &str = r#"# fish completion for forge: forge completions fish | source
function __forge_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
    if test "$found" = :files
        __fish_complete_path "$current"
    else
        printf '%s\n' $found
    end
end
complete -c forge -f -a '(__forge_complete)'
"#;
