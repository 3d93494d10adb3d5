/* The power supply through sysfs. */
#include "batch/power.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* The first line of a file, or "". */
static void first_line(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "re");
    if (!f || !fgets(out, (int)size, f))
        *out = 0;
    out[strcspn(out, "\n")] = 0;
    if (f)
        fclose(f);
}

bool qm_on_battery(const char *root) {
    char folder[4096], path[8192], type[32], value[32];
    snprintf(folder, sizeof folder, "%s/sys/class/power_supply", root);
    DIR *d = opendir(folder);
    bool mains = false, discharging = false;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s/type", folder, e->d_name);
        first_line(path, type, sizeof type);
        bool battery = !strcmp(type, "Battery");
        snprintf(path, sizeof path, "%s/%s/%s", folder, e->d_name, battery ? "status" : "online");
        first_line(path, value, sizeof value);
        mains = mains || (!battery && !strcmp(value, "1"));
        discharging = discharging || (battery && !strcmp(value, "Discharging"));
    }
    if (d)
        closedir(d);
    return discharging && !mains;
}
