//! Passwords: hashed by Argon2id, off the threads that serve requests, and a few at a time.

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use super::problem::{Answer, Code, Problem};
use search::blocking::{Busy, Workers};

/// KiB of memory, passes over it, lanes: what OWASP's Password Storage Cheat Sheet recommends for Argon2id
/// (19 MiB, 2, 1).
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Shorter ones are refused; NIST SP 800-63B-4 asks for 15 where nothing else protects an account, and throttled
/// logins do.
const SHORTEST: usize = 12;
/// Longer ones are refused: they cost time and say no more.
const LONGEST: usize = 256;

/// Passwords that wait to be hashed or checked: those of a second or two. More are refused, so that a crowd that guesses
/// does not have everybody else wait.
const QUEUE: usize = 50;
/// Seconds after which somebody who was refused may come again.
const AGAIN: u64 = 2;

/// Hashes passwords and checks them.
pub struct Passwords {
    argon: Argon2<'static>,
    /// Each hash takes a core for some ten milliseconds and 19 MiB: a crowd at the door must not take all of them.
    workers: Workers,
    /// A hash that no password has, to be checked where there is no account, so that both take the same time.
    nobody: String,
}

impl Passwords {
    /// Hashes as many at once as this.
    ///
    /// # Panics
    /// If Argon2 takes its own recommended parameters no more.
    pub fn new(at_once: usize) -> Self {
        let params = Params::new(MEMORY, PASSES, LANES, None).expect("within Argon2's bounds");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash(&argon, &super::secret::random()).expect("a short password");
        Self { argon, workers: Workers::new(at_once, QUEUE), nobody }
    }

    /// The hash of a new password, in the PHC string format.
    ///
    /// # Errors
    /// If it is too short, too long, or the name of its account. [`Code::Unavailable`] if too many wait.
    pub async fn hash(&self, password: &str, username: &str) -> Answer<String> {
        let length = password.chars().count();
        if length < SHORTEST || password.len() > LONGEST {
            let detail = format!(
                "a password has {SHORTEST} characters at least, and {LONGEST} bytes at most"
            );
            return Err(Problem::new(Code::InvalidBody, detail));
        }
        if password.eq_ignore_ascii_case(username) {
            return Err(Problem::new(Code::InvalidBody, "a password is not the name of its user"));
        }
        let (argon, password) = (self.argon.clone(), password.to_owned());
        let hashed = self.workers.run(move |_| hash(&argon, &password)).await;
        hashed.map_err(busy)?.map_err(|error| {
            Problem::internal(format!("the password could not be hashed: {error}"))
        })
    }

    /// Whether a password is that of a hash. Takes as long where there is no hash.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if too many wait; the password was not checked then.
    pub async fn verify(&self, password: &str, known: Option<&str>) -> Answer<bool> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let (argon, password) = (self.argon.clone(), password.to_owned());
        // The built-in account has a hash that none is, and nobody can log in to it.
        let usable = known.filter(|known| PasswordHash::new(known).is_ok());
        let (is_there, known) = (usable.is_some(), usable.unwrap_or(&self.nobody).to_owned());
        let is_it = self.workers.run(move |_| {
            PasswordHash::new(&known)
                .is_ok_and(|known| argon.verify_password(password.as_bytes(), &known).is_ok())
        });
        Ok(is_it.await.map_err(busy)? && is_there)
    }
}

fn busy(_: Busy) -> Problem {
    let detail = "too many passwords are being checked at the moment; try again";
    Problem { detail: Some(detail.to_owned()), ..Problem::later(Code::Unavailable, AGAIN) }
}

fn hash(argon: &Argon2<'_>, password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    Ok(argon.hash_password(password.as_bytes(), &salt)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_nobody_has_none() {
        let passwords = Passwords::new(1);
        let hash = passwords.hash("correct horse battery", "ada").await.expect("long enough");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for (password, known, is_right) in [
            ("correct horse battery", Some(&*hash), true),
            ("correct horse batterx", Some(&hash), false),
            ("correct horse battery", None, false),
            ("!", Some("!"), false),
        ] {
            let verified = passwords.verify(password, known).await.expect("nobody else waits");
            assert_eq!(verified, is_right, "{password} {known:?}");
        }
        for bad in ["short", "administrator", &"long".repeat(100)] {
            assert!(passwords.hash(bad, "Administrator").await.is_err(), "{bad}");
        }
    }
    #[tokio::test]
    async fn more_than_a_crowd_is_refused_and_told_when_to_come_again() {
        let passwords = Passwords::new(1);
        // Polled in order, before the first has ended: one is checked, and the others wait.
        let tries = (0..QUEUE + 10).map(|_| passwords.verify("a wrong password", None));
        let answers = futures::future::join_all(tries).await;
        let refused: Vec<_> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
        assert_eq!(refused.len(), 9);
        assert!(refused.iter().all(|it| it.code == Code::Unavailable && it.retry_after == Some(2)));
    }
}
