//! Media types of source code, by extension, file name and interpreter.

use std::path::Path;

const SHELL: &str = "text/x-shellscript";

/// Types by lower-case extension, sorted.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("adb", "text/x-ada"),
    ("ads", "text/x-ada"),
    ("asm", "text/x-asm"),
    ("awk", "text/x-awk"),
    ("bas", "text/x-vb"),
    ("bash", SHELL),
    ("bat", "text/x-batch"),
    ("c", "text/x-c"),
    ("c++", "text/x-c++"),
    ("cbl", "text/x-cobol"),
    ("cc", "text/x-c++"),
    ("cjs", "text/javascript"),
    ("clj", "text/x-clojure"),
    ("cljc", "text/x-clojure"),
    ("cljs", "text/x-clojure"),
    ("cls", "text/x-tex-macros"),
    ("cmake", "text/x-cmake"),
    ("cmd", "text/x-batch"),
    ("cob", "text/x-cobol"),
    ("cpp", "text/x-c++"),
    ("cs", "text/x-csharp"),
    ("css", "text/css"),
    ("cts", "text/x-typescript"),
    ("cu", "text/x-cuda"),
    ("cxx", "text/x-c++"),
    ("d", "text/x-d"),
    ("dart", "text/x-dart"),
    ("dpr", "text/x-pascal"),
    ("dtx", "text/x-tex-macros"),
    ("el", "text/x-emacs-lisp"),
    ("erl", "text/x-erlang"),
    ("ex", "text/x-elixir"),
    ("exs", "text/x-elixir"),
    ("f", "text/x-fortran"),
    ("f03", "text/x-fortran"),
    ("f08", "text/x-fortran"),
    ("f90", "text/x-fortran"),
    ("f95", "text/x-fortran"),
    ("fish", SHELL),
    ("for", "text/x-fortran"),
    ("fs", "text/x-fsharp"),
    ("fsi", "text/x-fsharp"),
    ("fsx", "text/x-fsharp"),
    ("gemspec", "text/x-ruby"),
    ("go", "text/x-go"),
    ("gql", "text/x-graphql"),
    ("gradle", "text/x-groovy"),
    ("graphql", "text/x-graphql"),
    ("groovy", "text/x-groovy"),
    ("h", "text/x-c"),
    ("hcl", "text/x-hcl"),
    ("hh", "text/x-c++"),
    ("hpp", "text/x-c++"),
    ("hrl", "text/x-erlang"),
    ("hs", "text/x-haskell"),
    ("hxx", "text/x-c++"),
    ("java", "text/x-java"),
    ("jl", "text/x-julia"),
    ("js", "text/javascript"),
    ("jsx", "text/javascript"),
    ("ksh", SHELL),
    ("kt", "text/x-kotlin"),
    ("kts", "text/x-kotlin"),
    ("less", "text/x-less"),
    ("lisp", "text/x-common-lisp"),
    ("lua", "text/x-lua"),
    ("mjs", "text/javascript"),
    ("mk", "text/x-makefile"),
    ("ml", "text/x-ocaml"),
    ("mli", "text/x-ocaml"),
    ("mm", "text/x-objective-c"),
    ("mts", "text/x-typescript"),
    ("nim", "text/x-nim"),
    ("nix", "text/x-nix"),
    ("pas", "text/x-pascal"),
    ("php", "text/x-php"),
    ("pl", "text/x-perl"),
    ("pm", "text/x-perl"),
    ("proto", "text/x-protobuf"),
    ("ps1", "text/x-powershell"),
    ("psm1", "text/x-powershell"),
    ("py", "text/x-python"),
    ("pyi", "text/x-python"),
    ("pyx", "text/x-cython"),
    ("r", "text/x-r"),
    ("rake", "text/x-ruby"),
    ("rb", "text/x-ruby"),
    ("rkt", "text/x-scheme"),
    ("rs", "text/x-rust"),
    ("s", "text/x-asm"),
    ("sbt", "text/x-scala"),
    ("scala", "text/x-scala"),
    ("scm", "text/x-scheme"),
    ("scss", "text/x-scss"),
    ("sh", SHELL),
    ("sol", "text/x-solidity"),
    ("sql", "application/sql"),
    ("sty", "text/x-tex-macros"),
    ("sv", "text/x-verilog"),
    ("svelte", "text/x-svelte"),
    ("swift", "text/x-swift"),
    ("tcl", "text/x-tcl"),
    ("tf", "text/x-hcl"),
    ("ts", "text/x-typescript"),
    ("tsx", "text/x-typescript"),
    ("v", "text/x-verilog"),
    ("vala", "text/x-vala"),
    ("vb", "text/x-vb"),
    ("vbs", "text/x-vb"),
    ("vhd", "text/x-vhdl"),
    ("vhdl", "text/x-vhdl"),
    ("vim", "text/x-vim"),
    ("vue", "text/x-vue"),
    ("zig", "text/x-zig"),
    ("zsh", SHELL),
];

/// Types by lower-case file name, sorted.
const BY_NAME: &[(&str, &str)] = &[
    (".bash_profile", SHELL),
    (".bashrc", SHELL),
    (".profile", SHELL),
    (".zshrc", SHELL),
    ("cmakelists.txt", "text/x-cmake"),
    ("containerfile", "text/x-dockerfile"),
    ("dockerfile", "text/x-dockerfile"),
    ("gemfile", "text/x-ruby"),
    ("gnumakefile", "text/x-makefile"),
    ("jenkinsfile", "text/x-groovy"),
    ("makefile", "text/x-makefile"),
    ("rakefile", "text/x-ruby"),
    ("sconstruct", "text/x-python"),
    ("vagrantfile", "text/x-ruby"),
];

/// Types by the name of an interpreter without its version, sorted.
const BY_INTERPRETER: &[(&str, &str)] = &[
    ("awk", "text/x-awk"),
    ("deno", "text/x-typescript"),
    ("elixir", "text/x-elixir"),
    ("escript", "text/x-erlang"),
    ("expect", "text/x-tcl"),
    ("gawk", "text/x-awk"),
    ("groovy", "text/x-groovy"),
    ("guile", "text/x-scheme"),
    ("julia", "text/x-julia"),
    ("lua", "text/x-lua"),
    ("luajit", "text/x-lua"),
    ("make", "text/x-makefile"),
    ("mawk", "text/x-awk"),
    ("node", "text/javascript"),
    ("nodejs", "text/javascript"),
    ("ocaml", "text/x-ocaml"),
    ("perl", "text/x-perl"),
    ("php", "text/x-php"),
    ("pwsh", "text/x-powershell"),
    ("pypy", "text/x-python"),
    ("python", "text/x-python"),
    ("rscript", "text/x-r"),
    ("ruby", "text/x-ruby"),
    ("runhaskell", "text/x-haskell"),
    ("tclsh", "text/x-tcl"),
    ("wish", "text/x-tcl"),
];

/// Bytes of a file that are searched for words of a language.
const SAMPLE_BYTES: usize = 8192;

/// The type that the name of a file stands for.
pub(super) fn by_name(path: &Path, extension: &[u8], bytes: &[u8]) -> Option<&'static str> {
    let name = path.file_name()?.as_encoded_bytes().to_ascii_lowercase();
    let named = super::lookup(BY_NAME, &name).or_else(|| super::lookup(BY_EXTENSION, extension));
    named.or_else(|| (extension == b"m").then(|| objective_c_or_matlab(bytes)))
}

/// Both languages use the extension `.m`.
fn objective_c_or_matlab(bytes: &[u8]) -> &'static str {
    const OF_OBJECTIVE_C: [&[u8]; 4] = [b"#import", b"#include", b"@interface", b"@implementation"];
    let head = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let contains = |word: &&[u8]| head.windows(word.len()).any(|window| window == *word);
    if OF_OBJECTIVE_C.iter().any(contains) { "text/x-objective-c" } else { "text/x-matlab" }
}

/// The type of a script by its first line (`#!`). A script of an unknown interpreter is one of a
/// shell.
pub(super) fn by_interpreter(bytes: &[u8]) -> Option<&'static str> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).to_lowercase();
    let mut words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let program = match words.next()? {
        "env" => words.find(|word| !word.starts_with('-') && !word.contains('='))?,
        program => program,
    };
    let name = program.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
    Some(super::lookup(BY_INTERPRETER, name.as_bytes()).unwrap_or(SHELL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order() {
        for table in [BY_EXTENSION, BY_NAME, BY_INTERPRETER] {
            assert!(table.is_sorted());
        }
    }
}
