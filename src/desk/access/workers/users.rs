//! The user that workers run as (`server.user`).

use std::fs;

/// Whom a worker runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

/// Looks up a user by name, as the system's file has it.
pub fn user(name: &str) -> Result<User, String> {
    let file = "/etc/passwd";
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    find(&text, name).ok_or_else(|| format!("there is no user \"{name}\" in {file}"))
}

/// passwd(5): `name:password:uid:gid:…`.
fn find(passwd: &str, name: &str) -> Option<User> {
    let mut users = passwd.lines().map(|line| line.split(':'));
    let mut fields =
        users.find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    let _password = fields.next();
    let mut number = || fields.next()?.parse().ok();
    Some(User { uid: number()?, gid: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_with_its_primary_group() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:34::/:/bin/false\nbad:x:y:1";
        assert_eq!(find(passwd, "www-data"), Some(User { uid: 33, gid: 34 }));
        for name in ["www", "bad", "", "x"] {
            assert_eq!(find(passwd, name), None, "{name}");
        }
        assert_eq!(user("root"), Ok(User { uid: 0, gid: 0 }));
    }
}
