//! Whether the workers of `server.command` can be started: their program, its script, their user.
//! Looks at files, and runs nothing.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::thread::{CapabilitySet, capabilities};

use super::StartError;
use crate::access::{AccessSettings, Asked, WorkersSettings};
use crate::desk::access::workers::{User, user};

/// Where programs are looked for without a `PATH` (execvp(3)).
const USUAL_PATH: &str = "/bin:/usr/bin";
/// Bytes of a script's first line that the kernel looks at.
const FIRST_LINE_BYTES: u64 = 256;
/// Programs whose first argument is a script, where it is no option.
const INTERPRETERS: [&str; 7] = ["python", "node", "nodejs", "ruby", "perl", "bash", "sh"];

/// Whether the user that workers run as is there, and may be switched to.
pub fn check_user(access: &AccessSettings) -> Result<(), StartError> {
    let Asked::Workers(workers) = &access.asked else { return Ok(()) };
    let Some(name) = &workers.user else { return Ok(()) };
    let sets = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let uids = [getuid().as_raw(), geteuid().as_raw()];
    let gids = [getgid().as_raw(), getegid().as_raw()];
    let may = |User { uid, gid }: User| {
        (sets.contains(CapabilitySet::SETUID) || uids.contains(&uid))
            && (sets.contains(CapabilitySet::SETGID) || gids.contains(&gid))
    };
    let problem = match user(name) {
        Err(problem) => problem,
        Ok(user) if may(user) => return Ok(()),
        Ok(_) => format!(
            "workers cannot run as \"{name}\": this process runs as user {} and may not switch to \
             another; start the server as root (or with CAP_SETUID and CAP_SETGID), or take out the key",
            uids[1]
        ),
    };
    Err(StartError::Workers { key: "server.user", problem })
}

/// Whether the program of workers is there and may be run, and the script that it is given.
pub fn check_program(access: &AccessSettings) -> Result<(), StartError> {
    let Asked::Workers(workers) = &access.asked else { return Ok(()) };
    runs(workers, &workers.command)
        .map_err(|problem| StartError::Workers { key: "server.command", problem })
}

fn runs(workers: &WorkersSettings, command: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let file = find(workers, program)?;
    interpreter(workers, program, &file)?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    if name == "env" {
        let set = arguments.iter().take_while(|argument| argument.contains('=')).count();
        let rest = &arguments[set..];
        let is_option = rest.first().is_some_and(|first| first.starts_with('-'));
        return if is_option { Ok(()) } else { runs(workers, rest) };
    }
    let Some(script) = script(name, arguments) else { return Ok(()) };
    let at = workers.directory.join(script);
    if at.exists() {
        return Ok(());
    }
    Err(format!(
        "there is no file {}; names count from the directory of the configuration file",
        shown(&at)
    ))
}

/// The file that is run for the name of a program.
fn find(workers: &WorkersSettings, program: &str) -> Result<PathBuf, String> {
    let is_executable = |file: &Path| {
        let about = fs::metadata(file).ok().filter(fs::Metadata::is_file);
        about.map(|about| about.permissions().mode() & 0o111 != 0)
    };
    let not_executable =
        |file: &Path| format!("{} may not be run: it is not executable (chmod +x)", shown(file));
    if program.contains('/') {
        let file = workers.directory.join(program);
        return match is_executable(&file) {
            Some(true) => Ok(file),
            Some(false) => Err(not_executable(&file)),
            None => Err(format!(
                "there is no file {}; names count from the directory of the configuration file",
                shown(&file)
            )),
        };
    }
    let own = workers.env.iter().rev().find(|(name, _)| name == "PATH");
    let own = own.map(|(_, value)| value.0.clone());
    let path = own.or_else(|| std::env::var("PATH").ok()).unwrap_or_else(|| USUAL_PATH.to_owned());
    let files = path.split(':').map(|place| workers.directory.join(place).join(program));
    let found: Vec<_> = files.filter_map(|file| Some((is_executable(&file)?, file))).collect();
    if let Some((_, file)) = found.iter().find(|(executable, _)| *executable) {
        return Ok(file.clone());
    }
    Err(match found.first() {
        Some((_, file)) => not_executable(file),
        None => format!(
            "there is no program \"{program}\" in the PATH ({path}); a service has a short one: \
             write the whole path"
        ),
    })
}

/// Whether there is what the first line of a script names.
fn interpreter(workers: &WorkersSettings, program: &str, file: &Path) -> Result<(), String> {
    let mut begin = Vec::new();
    let read = fs::File::open(file).map(|file| file.take(FIRST_LINE_BYTES).read_to_end(&mut begin));
    let Some(line) = begin.strip_prefix(b"#!").filter(|_| read.is_ok()) else { return Ok(()) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let named = |problem: String| format!("\"{program}\" begins with {line:?}: {problem}");
    let Some(first) = words.next() else { return Ok(()) };
    if !Path::new(first).exists() {
        return Err(named(format!("there is no file {first:?}")));
    }
    match words.next().filter(|word| first.ends_with("/env") && !word.starts_with('-')) {
        Some(program) => find(workers, program).map(drop).map_err(named),
        None => Ok(()),
    }
}

/// The script that an interpreter is given, where that can be told.
fn script<'a>(interpreter: &str, arguments: &'a [String]) -> Option<&'a str> {
    let mut arguments = arguments.iter().map(String::as_str);
    if interpreter != "php" {
        let first = arguments.next().filter(|_| INTERPRETERS.contains(&interpreter));
        return first.filter(|first| !first.starts_with('-'));
    }
    while let Some(argument) = arguments.next() {
        match argument {
            "-f" | "--file" | "--" => return arguments.next(),
            "-d" | "-c" | "-z" | "--define" | "--php-ini" | "--zend-extension" => {
                arguments.next()?;
            }
            "-n" | "-q" | "-e" | "-C" | "--no-php-ini" => {}
            // `-d` and `-c` with their values in one.
            _ if argument.starts_with("-d") || argument.starts_with("-c") => {}
            _ if argument.starts_with('-') => return None,
            script => return Some(script),
        }
    }
    None
}

fn shown(file: &Path) -> String {
    path::absolute(file).unwrap_or_else(|_| file.to_path_buf()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_script_of_an_interpreter_is_found_behind_its_options() {
        for (name, arguments, expected) in [
            ("php", "worker.php", Some("worker.php")),
            ("php", "worker.php -d x", Some("worker.php")),
            ("php", "-d memory_limit=64M -dfoo=1 app/w.php serve", Some("app/w.php")),
            ("php", "-n -c php.ini -f w.php", Some("w.php")),
            ("php", "-r x", None),
            ("php", "-d", None),
            ("node", "worker.js", Some("worker.js")),
            ("python", "-m worker", None),
            ("worker", "what.ever", None),
        ] {
            assert_eq!(script(name, &words(arguments)), expected, "{name} {arguments}");
        }
    }
}
