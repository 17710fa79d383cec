//! Passwords, hashed with Argon2id by a bounded pool of threads outside those that serve requests.

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use super::problem::{HandlerResult, Problem, ProblemCode};
use search::blocking::{BlockingPool, QueueFull};

/// Memory in KiB, iterations and lanes: the recommendation for Argon2id of OWASP's Password Storage
/// Cheat Sheet (19 MiB, 2, 1).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Minimum length in characters. NIST SP 800-63B-4 requires 15 for a password without further
/// protection; here logins are throttled.
const MIN_LENGTH: usize = 12;
/// Maximum length in bytes; longer passwords take time without adding security.
const MAX_LENGTH: usize = 256;

/// Passwords that wait to be hashed or verified: one to two seconds of work. More are refused, so
/// that a flood of guesses does not delay all other logins.
const QUEUE_LENGTH: usize = 50;
/// `Retry-After` of a refused request, in seconds.
const RETRY_AFTER_SECONDS: u64 = 2;

/// Hashes and verifies passwords.
///
/// ```
/// use server::PasswordService;
/// use server::problem::{Problem, ProblemCode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let passwords = PasswordService::new(1);
/// let hash = passwords.hash("correct horse battery", "ada").await.unwrap();
/// assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
/// assert!(passwords.verify("correct horse battery", Some(&hash)).await.unwrap());
/// assert!(!passwords.verify("incorrect horse", Some(&hash)).await.unwrap());
/// assert!(!passwords.verify("correct horse battery", None).await.unwrap(), "unknown account");
///
/// let problem: Problem = passwords.hash("too short", "ada").await.unwrap_err();
/// assert_eq!(problem.code, ProblemCode::InvalidBody);
/// # }
/// ```
pub struct PasswordService {
    argon: Argon2<'static>,
    /// A hash takes a core for about ten milliseconds and 19 MiB, so the number of concurrent ones
    /// is limited.
    workers: BlockingPool,
    /// A hash without password, verified for unknown accounts so that both cases take the same
    /// time.
    dummy_hash: String,
}

impl PasswordService {
    /// Hashes up to `at_once` passwords concurrently.
    ///
    /// # Panics
    /// If Argon2 rejects the parameters.
    pub fn new(at_once: usize) -> Self {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("within Argon2's bounds");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy_hash = hash(&argon, &super::secret::random_secret()).expect("a short password");
        Self { argon, workers: BlockingPool::new(at_once, QUEUE_LENGTH), dummy_hash }
    }

    /// The hash of a new password, in the PHC string format.
    ///
    /// # Errors
    /// If the password is too short, too long, or equal to the name of its account.
    /// [`ProblemCode::Unavailable`] if too many requests wait.
    pub async fn hash(&self, password: &str, username: &str) -> HandlerResult<String> {
        let length = password.chars().count();
        if length < MIN_LENGTH || password.len() > MAX_LENGTH {
            let detail = format!(
                "invalid password: expected at least {MIN_LENGTH} characters and at most {MAX_LENGTH} \
                 bytes"
            );
            return Err(Problem::new(ProblemCode::InvalidBody, detail));
        }
        if password.eq_ignore_ascii_case(username) {
            return Err(Problem::new(
                ProblemCode::InvalidBody,
                "invalid password: it must differ from the user name",
            ));
        }
        let (argon, password) = (self.argon.clone(), password.to_owned());
        let hashed = self.workers.run(move |_| hash(&argon, &password)).await;
        hashed.map_err(queue_full_problem)?.map_err(|error| {
            Problem::internal(format!("cannot hash the password with Argon2: {error}"))
        })
    }

    /// Returns true if the password matches the hash. Takes the same time without a hash.
    ///
    /// # Errors
    /// [`ProblemCode::Unavailable`] if too many requests wait; the password was not verified.
    pub async fn verify(&self, password: &str, known: Option<&str>) -> HandlerResult<bool> {
        if password.len() > MAX_LENGTH {
            return Ok(false);
        }
        let (argon, password) = (self.argon.clone(), password.to_owned());
        // The hash of the built-in account is invalid, which makes a login impossible.
        let usable = known.filter(|known| PasswordHash::new(known).is_ok());
        let (is_there, known) = (usable.is_some(), usable.unwrap_or(&self.dummy_hash).to_owned());
        let is_it = self.workers.run(move |_| {
            PasswordHash::new(&known)
                .is_ok_and(|known| argon.verify_password(password.as_bytes(), &known).is_ok())
        });
        Ok(is_it.await.map_err(queue_full_problem)? && is_there)
    }
}

fn queue_full_problem(_: QueueFull) -> Problem {
    let detail = "too many logins are waiting: try again later";
    Problem {
        detail: Some(detail.to_owned()),
        ..Problem::retry_later(ProblemCode::Unavailable, RETRY_AFTER_SECONDS)
    }
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
        let passwords = PasswordService::new(1);
        let hash = passwords.hash("correct horse battery", "ada").await.expect("long enough");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        for (password, known, is_right) in [
            ("correct horse battery", Some(&*hash), true),
            ("correct horse batterx", Some(&hash), false),
            ("correct horse battery", None, false),
            ("!", Some("!"), false),
        ] {
            let verified = passwords.verify(password, known).await.expect("no other request waits");
            assert_eq!(verified, is_right, "{password} {known:?}");
        }
        for bad in ["short", "administrator", &"long".repeat(100)] {
            assert!(passwords.hash(bad, "Administrator").await.is_err(), "{bad}");
        }
    }
    #[tokio::test]
    async fn more_than_a_crowd_is_refused_and_told_when_to_come_again() {
        let passwords = PasswordService::new(1);
        // Polled in order before the first one ends: one is verified, the others wait.
        let tries = (0..QUEUE_LENGTH + 10).map(|_| passwords.verify("a wrong password", None));
        let answers = futures::future::join_all(tries).await;
        let refused: Vec<_> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
        assert_eq!(refused.len(), 9);
        assert!(
            refused
                .iter()
                .all(|it| it.code == ProblemCode::Unavailable && it.retry_after == Some(2))
        );
    }
}
