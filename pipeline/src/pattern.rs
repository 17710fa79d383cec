//! Limits of glob patterns, checked before a pattern is compiled.
//!
//! The glob compiler builds nested alternatives by recursion and repeats each of them in a regular
//! expression, so an unchecked pattern can overflow the stack or take seconds. Every pattern of a
//! pipeline file, command line or request is checked here first, in one pass without allocation.

/// Maximum length of a pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1000;
/// Maximum nesting of `{…}` in a pattern.
pub const MAX_BRACE_DEPTH: usize = 10;
/// Maximum number of alternatives (`a` and `b` of `{a,b}`) in a pattern, over all of its braces.
pub const MAX_ALTERNATIVES: usize = 100;
/// Maximum number of patterns in one list of a pipeline file.
pub const MAX_PATTERNS: usize = 1000;

/// A pattern that exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// See [`MAX_PATTERN_BYTES`].
    #[error("the pattern has {0} bytes; at most {MAX_PATTERN_BYTES} are allowed")]
    TooLong(usize),
    /// See [`MAX_BRACE_DEPTH`].
    #[error("the pattern nests braces more than {MAX_BRACE_DEPTH} deep")]
    TooDeep,
    /// See [`MAX_ALTERNATIVES`].
    #[error("the pattern has more than {MAX_ALTERNATIVES} alternatives in braces")]
    TooManyAlternatives,
    /// See [`MAX_PATTERNS`].
    #[error("there are {0} patterns; at most {MAX_PATTERNS} are allowed")]
    TooMany(usize),
}

/// Checks a pattern against the limits. A pattern that passes may still be malformed.
///
/// # Errors
/// The first limit that the pattern exceeds.
///
/// ```
/// use pipeline::{PatternError, check_pattern};
///
/// assert_eq!(check_pattern("docs/**/*.{html,md}"), Ok(()));
/// assert_eq!(check_pattern(&"{a,".repeat(11)), Err(PatternError::TooDeep));
/// // Braces in a character class are literals.
/// assert_eq!(check_pattern(&"[{]".repeat(11)), Ok(()));
/// ```
pub fn check_pattern(pattern: &str) -> Result<(), PatternError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(PatternError::TooLong(pattern.len()));
    }
    let (mut depth, mut alternatives) = (0_usize, 0_usize);
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' => {
                // Braces and commas in a character class are literals.
                characters.next_if(|next| matches!(next, '!' | '^'));
                characters.next_if_eq(&']');
                characters.by_ref().find(|next| *next == ']');
            }
            '{' => {
                depth += 1;
                alternatives += 1;
            }
            ',' if depth > 0 => alternatives += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_BRACE_DEPTH {
            return Err(PatternError::TooDeep);
        }
        if alternatives > MAX_ALTERNATIVES {
            return Err(PatternError::TooManyAlternatives);
        }
    }
    Ok(())
}

/// Checks a list of patterns of a pipeline file.
///
/// # Errors
/// If there are more than [`MAX_PATTERNS`], or the first limit that one of them exceeds.
///
/// ```
/// use pipeline::{MAX_PATTERNS, PatternError, check_patterns};
///
/// let many = vec!["*.md"; MAX_PATTERNS + 1];
/// assert_eq!(check_patterns(["*.md"].into_iter()), Ok(()));
/// assert_eq!(check_patterns(many.into_iter()), Err(PatternError::TooMany(1001)));
/// ```
pub fn check_patterns<'a>(
    patterns: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), PatternError> {
    if patterns.len() > MAX_PATTERNS {
        return Err(PatternError::TooMany(patterns.len()));
    }
    let mut patterns = patterns;
    patterns.try_for_each(check_pattern)
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_named_and_exact() {
        let nested = |depth: usize| "{".repeat(depth) + "a" + &"}".repeat(depth);
        let alternatives = |count: usize| format!("{{{}}}", vec!["a"; count].join(","));
        assert_eq!(check_pattern(&"a".repeat(MAX_PATTERN_BYTES)), Ok(()));
        assert_eq!(check_pattern(&"a".repeat(1001)), Err(PatternError::TooLong(1001)));
        assert_eq!(check_pattern(&nested(MAX_BRACE_DEPTH)), Ok(()));
        assert_eq!(check_pattern(&nested(11)), Err(PatternError::TooDeep));
        assert_eq!(check_pattern(&alternatives(MAX_ALTERNATIVES)), Ok(()));
        assert_eq!(check_pattern(&alternatives(101)), Err(PatternError::TooManyAlternatives));
        assert_eq!(check_pattern(&"{a}".repeat(101)), Err(PatternError::TooManyAlternatives));
        assert_eq!(check_pattern(&"a,".repeat(200)), Ok(()), "commas outside of braces");
        for literal in [r"\{".repeat(20), "[{]".repeat(20), "[]{]".repeat(20), "[!{]".repeat(20)] {
            assert_eq!(check_pattern(&literal), Ok(()), "{literal}");
        }
        let many = vec!["a"; MAX_PATTERNS + 1];
        assert_eq!(check_patterns(many.into_iter()), Err(PatternError::TooMany(1001)));
        let said = PatternError::TooLong(1001).to_string();
        assert_eq!(said, "the pattern has 1001 bytes; at most 1000 are allowed");
    }

    proptest! {
        /// The depth counted here is that of the glob compiler, which recurses once per level.
        #[test]
        fn what_passes_compiles_within_a_small_stack(
            pieces in prop::collection::vec("[{},*?ab/!\\\\\\[\\]-]{1,8}", 0..120)
        ) {
            let pattern = pieces.concat();
            if check_pattern(&pattern).is_ok() {
                let compiled = std::thread::Builder::new()
                    .stack_size(1 << 20)
                    .spawn(move || {
                        let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
                        glob.map(|glob| glob.compile_matcher().is_match("ab/ab")).ok()
                    })
                    .expect("spawn a thread")
                    .join();
                prop_assert!(compiled.is_ok());
            }
        }

        #[test]
        fn deep_patterns_are_refused(depth in 11..100_000_usize, closed: bool) {
            let mut pattern = "{".repeat(depth) + "a";
            if closed {
                pattern.push_str(&"}".repeat(depth));
            }
            prop_assert!(check_pattern(&pattern).is_err());
        }
    }
}
