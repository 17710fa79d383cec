//! `semantik users`: manages accounts of the server directly in the database, also when no account
//! can log in.

use std::io::{IsTerminal as _, stdin};

use metadata::{Actor, NewUser};
use pipeline::BoxError;
use serde_json::json;
use server::PasswordService;

use super::migrate;
use crate::cli::UsersVerb;
use crate::render;

/// Accounts per page.
const ACCOUNTS_PER_READ: u32 = 1000;

pub(super) async fn users(verb: UsersVerb) -> Result<(), BoxError> {
    match verb {
        UsersVerb::List { store, json } => {
            let database = migrate::open_read_only(&store).await?;
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let part =
                    database.postgres().accounts().list_users(after, ACCOUNTS_PER_READ).await?;
                let Some(last) = part.last() else { break };
                after = Some(last.id);
                found.extend(part);
            }
            if json {
                let users = found.iter().map(|it| {
                    json!({
                        "id": it.id,
                        "username": it.username,
                        "email": it.email,
                        "is_active": it.is_active,
                        "is_superuser": it.is_superuser,
                        "last_login": it.last_login,
                    })
                });
                return render::print_json(&users.collect());
            }
            let rows = found.iter().map(|it| {
                let may = if it.is_superuser { "all" } else { "granted" };
                vec![
                    it.username.clone(),
                    it.email.clone(),
                    if it.is_active { may } else { "none" }.to_owned(),
                    it.last_login.map(render::format_time).unwrap_or_default(),
                ]
            });
            render::print(&render::table(&["user", "email", "permissions", "last login"], rows))
        }
        UsersVerb::Add { account, email, superuser, json } => {
            let (store, name) = account.into_parts();
            let hashed_password = new_password(&name).await?;
            let database = migrate::open(&store).await?;
            database.postgres().migrate_up().await?;
            let new = NewUser {
                username: name.clone(),
                email,
                full_name: None,
                hashed_password,
                is_superuser: superuser,
            };
            database.postgres().accounts().create_user(&new, &Actor::default()).await?;
            let answer = json!({ "username": name, "created": true });
            render::print_answer(json, &answer, &format!("created account `{name}`\n"))
        }
        UsersVerb::Password { account, json } => {
            let (store, name) = account.into_parts();
            let hash = new_password(&name).await?;
            let database = migrate::open(&store).await?;
            database.postgres().migrate_up().await?;
            let accounts = database.postgres().accounts();
            let user = accounts
                .find_user_by_name(&name)
                .await?
                .ok_or(format!("account `{name}` does not exist"))?;
            if !accounts.set_password(user.id, &hash, &Actor::default()).await? {
                return Err(format!("account `{name}` cannot have a password").into());
            }
            let answer = json!({ "username": name, "password_changed": true });
            let words = format!("changed the password of `{name}` and revoked its sessions\n");
            render::print_answer(json, &answer, &words)
        }
    }
}

/// Reads a password from standard input and returns its hash. A password is never an argument,
/// since other users can see arguments.
async fn new_password(name: &str) -> Result<String, BoxError> {
    if stdin().is_terminal() {
        render::print_error_line(format_args!("Type the password of `{name}` (it is visible):"));
    }
    let mut password = String::new();
    stdin().read_line(&mut password).map_err(|error| {
        format!("cannot read the password from standard input: {}", pipeline::io_error_text(&error))
    })?;
    let hashed = PasswordService::new(1).hash(password.trim_end_matches(['\r', '\n']), name).await;
    hashed.map_err(|problem| problem.detail.unwrap_or_default().into())
}
