// Writes the tables of docs/config.md anew: cmake --build --preset dev --target config-page
#include <fstream>
#include <iostream>
#include <sstream>

#include "config_page.hpp"

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: config_page FILE\n";
        return 2;
    }
    std::ostringstream page;
    if (std::ifstream in(argv[1]); !(page << in.rdbuf())) {
        std::cerr << argv[1] << " cannot be read\n";
        return 1;
    }
    std::ofstream out(argv[1]);
    out << s3gate::config::with_tables(page.str());
    if (!out.flush()) {
        std::cerr << argv[1] << " cannot be written\n";
        return 1;
    }
    return 0;
}
