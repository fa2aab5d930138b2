//! The catalogue of what can be wrong. Each code has a golden in `fixtures/diagnostics`.

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $code;)*

        /// Every code.
        pub const CATALOGUE: &[&str] = &[$($code),*];
    };
}

catalogue! {
    /// Not TOML.
    SYNTAX = "forge::syntax";
    /// A key or table that is there twice.
    DUPLICATE_KEY = "forge::duplicate-key";
    /// A key that means nothing where it stands.
    UNKNOWN_KEY = "forge::unknown-key";
    /// A number where a string belongs, and so on.
    WRONG_TYPE = "forge::wrong-type";
    /// The right type, but not a duration, port, version, …
    BAD_VALUE = "forge::bad-value";
    /// A list or string that may not be empty.
    EMPTY_VALUE = "forge::empty-value";
    /// A key that has to be there.
    MISSING_KEY = "forge::missing-key";
    /// Two keys that exclude each other.
    KEY_CONFLICT = "forge::key-conflict";
    /// A key that belongs to another kind of target, provider or notifier.
    WRONG_KIND = "forge::wrong-kind";
    /// A name with characters that names don't have.
    BAD_NAME = "forge::bad-name";
    /// A glob that doesn't parse.
    BAD_GLOB = "forge::bad-glob";
    /// A path that is absolute or leaves where it belongs.
    BAD_PATH = "forge::bad-path";
    /// A pipeline file that isn't there or can't be read.
    NO_FILE = "forge::no-file";
    /// A member directory that has no pipeline file.
    MISSING_MEMBER = "forge::missing-member";
    /// Two projects with one name.
    DUPLICATE_PROJECT = "forge::duplicate-project";
    UNKNOWN_TARGET = "forge::unknown-target";
    UNKNOWN_SERVICE = "forge::unknown-service";
    UNKNOWN_ENVIRONMENT = "forge::unknown-environment";
    UNKNOWN_NOTIFIER = "forge::unknown-notifier";
    UNKNOWN_TEMPLATE = "forge::unknown-template";
    UNKNOWN_PROJECT = "forge::unknown-project";
    UNKNOWN_VAR = "forge::unknown-var";
    /// `${foo.bar}`, where there is no `foo`.
    UNKNOWN_NAMESPACE = "forge::unknown-namespace";
    /// `${git.foo}`: a namespace that is, with a key that it doesn't have.
    UNKNOWN_REFERENCE = "forge::unknown-reference";
    /// A reference that has no value in this place.
    REFERENCE_NOT_ALLOWED = "forge::reference-not-allowed";
    /// `${service.X.port}` in a target that doesn't list the service.
    SERVICE_NOT_LISTED = "forge::service-not-listed";
    /// `${image.T.ref}` in a target that doesn't need T.
    IMAGE_NOT_NEEDED = "forge::image-not-needed";
    /// An input that the target itself makes.
    OWN_INPUT = "forge::own-input";
    /// A deploy target without the one image that it deploys.
    NO_IMAGE = "forge::no-image";
    /// `${env.X}` of a secret, which would reach the key.
    SECRET_IN_KEY = "forge::secret-in-key";
    /// A name in `secret-env` that is in `env` or `inherit-env` too.
    SECRET_CONFLICT = "forge::secret-conflict";
    /// Targets that wait for one another.
    CYCLE = "forge::cycle";
    /// Projects that depend on one another.
    DEPENDS_CYCLE = "forge::depends-cycle";
    /// Two targets that make the same file.
    OUTPUT_OVERLAP = "forge::output-overlap";
    /// An input that another target makes, which isn't needed.
    INPUT_NOT_NEEDED = "forge::input-not-needed";
    /// Nothing was asked for, and nothing is the default.
    NO_DEFAULT = "forge::no-default";
    /// A warning: a target whose name is a command's.
    COMMAND_NAME = "forge::command-name";
    /// A warning: a template that no member names.
    UNUSED_TEMPLATE = "forge::unused-template";
    /// A warning: a glob of members that matches none.
    NO_MEMBER = "forge::no-member";
    /// A warning: a variable by whose name no shell can read it.
    ODD_VARIABLE = "forge::odd-variable";
    /// A warning: an image that gets no tag of its own.
    MOVING_TAG = "forge::moving-tag";
}
