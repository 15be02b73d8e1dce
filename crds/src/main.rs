//! Writes `crds/yaml` from the types, and the chart's copy of it.

use std::{fs, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [here.join("yaml"), here.join("../charts/pitwall/files/crds")] {
        fs::create_dir_all(&folder)?;
        for (file, definition) in pitwall_crds::definitions() {
            fs::write(folder.join(file), serde_yaml::to_string(&definition)?)?;
            println!("wrote {}", folder.join(file).display());
        }
    }
    Ok(())
}
