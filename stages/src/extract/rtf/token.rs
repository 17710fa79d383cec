//! The tokens of an RTF file.

/// A token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// `{`
    Open,
    /// `}`
    Close,
    /// A control word, such as `\par` or `\fs24`, with its parameter.
    Word(&'a str, Option<i32>),
    /// A control symbol, such as `\~`.
    Symbol(u8),
    /// A byte of text in hexadecimal, such as `\'e4`.
    Byte(u8),
    /// Bytes of text.
    Text(&'a [u8]),
}

/// Reads the tokens of a file in order.
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes the first `count` bytes, or what is left of them.
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, accepts: impl Fn(&u8) -> bool) -> &'a [u8] {
        let count = self.rest.iter().take_while(|byte| accepts(byte)).count();
        self.take(count)
    }

    /// The token after a backslash.
    fn control(&mut self) -> Token<'a> {
        let name = self.take_while(u8::is_ascii_alphabetic);
        if name.is_empty() {
            return match self.take(1) {
                b"'" => Token::Byte(self.hexadecimal()),
                [symbol] => Token::Symbol(*symbol),
                _ => Token::Text(b""),
            };
        }
        let sign = if self.rest.first() == Some(&b'-') { self.take(1) } else { b"" };
        let digits = self.take_while(u8::is_ascii_digit);
        let parameter = number(digits).map(|value| if sign.is_empty() { value } else { -value });
        if self.rest.first() == Some(&b' ') {
            self.take(1);
        }
        let name = std::str::from_utf8(name).unwrap_or_default();
        if name == "bin" {
            self.take(parameter.and_then(|count| count.try_into().ok()).unwrap_or(0));
        }
        Token::Word(name, parameter)
    }

    fn hexadecimal(&mut self) -> u8 {
        let digits = self.take(2);
        let text = std::str::from_utf8(digits).unwrap_or_default();
        u8::from_str_radix(text, 16).unwrap_or(b'?')
    }
}

/// The value of decimal digits; `None` without digits, or with too many.
fn number(digits: &[u8]) -> Option<i32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        // Line ends have no meaning: files are wrapped anywhere.
        self.take_while(|byte| matches!(byte, b'\r' | b'\n' | 0));
        let first = *self.rest.first()?;
        Some(match first {
            b'{' => {
                self.take(1);
                Token::Open
            }
            b'}' => {
                self.take(1);
                Token::Close
            }
            b'\\' => {
                self.take(1);
                self.control()
            }
            _ => Token::Text(
                self.take_while(|byte| !matches!(byte, b'{' | b'}' | b'\\' | b'\r' | b'\n' | 0)),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_a_space_and_binary_data_is_skipped() {
        let bytes = b"{\\b1 bold\\par\r\n\\u-4051?\\'e4\\~\\bin3 }}}a\\bin99999999999 b\\";
        let tokens: Vec<_> = Tokens::new(bytes).collect();
        let expected = [
            Token::Open,
            Token::Word("b", Some(1)),
            Token::Text(b"bold"),
            Token::Word("par", None),
            Token::Word("u", Some(-4051)),
            Token::Text(b"?"),
            Token::Byte(0xe4),
            Token::Symbol(b'~'),
            Token::Word("bin", Some(3)),
            Token::Text(b"a"),
            Token::Word("bin", None),
            Token::Text(b"b"),
            Token::Text(b""),
        ];
        assert_eq!(tokens, expected);
    }
}
