use super::{STANDARD, open, unusable};
use crate::{
    args::{ExportArgs, ExportFormat},
    exit::{Exit, Failure},
    view::{
        printable::printable,
        screen::{Screen, print},
    },
};
use pitwall_profile::{
    cpu::{self, CpuProfile, Limits},
    export,
};
use std::{
    fs::OpenOptions,
    io::{self, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

/// `kubectl pitwall export`
pub(crate) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let mut screen = Screen::on_stderr();
    let output = args.output.clone().unwrap_or_else(|| beside(&args.file, args.format));
    let standard = output.as_os_str() == STANDARD;
    if standard && args.format == ExportFormat::Pprof && io::stdout().is_terminal() {
        return Err(Failure::usage("pprof's format is binary, and stdout a terminal: say --output FILE"));
    }
    let reader = open(&args.file, &mut screen)?;
    let profile = cpu::read(reader, &Limits::default()).map_err(|error| unusable(&args.file, &error))?;
    let title = title(&args.file);
    let written = if standard {
        write(&profile, args.format, &title, io::stdout().lock())
    } else {
        create(&output, args.force)?.and_then(|file| write(&profile, args.format, &title, file))
    };
    screen.clear();
    match written {
        // A reader that went away (`| head`) is no error.
        Err(error) if standard && error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::new(Exit::Failed, format!("can't write {}: {error}", output.display()))),
        Ok(()) if standard => Ok(Exit::Done),
        Ok(()) => {
            let output = printable(&output.display().to_string()).into_owned();
            print(&format!("saved {output}\n{} {output}\n", how_to_open(args.format)));
            Ok(Exit::Done)
        }
    }
}

fn write(profile: &CpuProfile, format: ExportFormat, title: &str, out: impl Write) -> io::Result<()> {
    match format {
        ExportFormat::Collapsed => export::collapsed(profile, out),
        ExportFormat::Pprof => export::pprof(profile, out),
        ExportFormat::Speedscope => export::speedscope(profile, title, out),
    }
}

/// A file that only the user can read: a profile tells of the program. The outer error is wrong usage.
fn create(path: &Path, force: bool) -> Result<io::Result<std::fs::File>, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!force);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::usage(format!("{} exists: --force overwrites it", path.display())))
        }
        opened => Ok(opened),
    }
}

/// The profile's name, without what says how it is written.
fn title(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let bare = name.strip_suffix(".gz").unwrap_or(&name);
    match bare.strip_suffix(".cpuprofile").unwrap_or(bare) {
        "" | STANDARD => "profile".to_owned(),
        title => title.to_owned(),
    }
}

/// Where the result goes unless told: into this folder, by the profile's name.
fn beside(file: &Path, format: ExportFormat) -> PathBuf {
    let extension = match format {
        ExportFormat::Collapsed => "collapsed.txt",
        ExportFormat::Pprof => "pb.gz",
        ExportFormat::Speedscope => "speedscope.json",
    };
    format!("{}.{extension}", title(file)).into()
}

/// The command that opens a file, without its name.
const fn how_to_open(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Collapsed => "To draw it: inferno-flamegraph",
        ExportFormat::Pprof => "To open it: go tool pprof -http=:",
        ExportFormat::Speedscope => "To open it: npx speedscope",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_named_after_its_profile() {
        for (file, expected) in [
            ("checkout.cpuprofile", "checkout.speedscope.json"),
            ("/tmp/a b/checkout.main.cpuprofile.gz", "checkout.main.speedscope.json"),
            ("checkout.json", "checkout.json.speedscope.json"),
            ("-", "profile.speedscope.json"),
            (".cpuprofile", "profile.speedscope.json"),
        ] {
            let named = beside(Path::new(file), ExportFormat::Speedscope);
            assert_eq!(named, Path::new(expected), "{file}");
        }
    }
}
